namespace FlashSale.Worker.Keeper;

/// <summary>An answer to a question about the broker.</summary>
public enum BrokerAnswer
{
    /// <summary>It cannot be found out now, which says nothing either way.</summary>
    Unknown,

    /// <summary>It is not so.</summary>
    No,

    /// <summary>It is so.</summary>
    Yes,
}

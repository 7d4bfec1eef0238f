namespace FlashSale.Worker.Keeper;

/// <summary>An answer to a yes-or-no question about the broker.</summary>
public enum BrokerAnswer
{
    /// <summary>The answer could not be found out, so nothing is known either way.</summary>
    Unknown,

    /// <summary>The answer is no.</summary>
    No,

    /// <summary>The answer is yes.</summary>
    Yes,
}

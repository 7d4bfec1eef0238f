namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>A sale of a test, with the answers that shoppers got in it.</summary>
public sealed record Sale(string Id, IReadOnlyList<ItemDraft> Items)
{
    public History History { get; } = new();

    /// <summary>The sku of the first item.</summary>
    public string Sku => Items[0].Sku;

    /// <summary>The prefix of the sale's Redis keys.</summary>
    public string RedisPrefix => $"fs:{{{Id}}}:";

    public string OrdersPath => $"/api/v1/sales/{Id}/orders";
}

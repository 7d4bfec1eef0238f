namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>A sale of a test, with what shoppers were told in it.</summary>
public sealed record Sale(string Id, IReadOnlyList<ItemDraft> Items)
{
    public History History { get; } = new();

    /// <summary>The only or first item.</summary>
    public string Sku => Items[0].Sku;

    /// <summary>What the sale's Redis keys start with.</summary>
    public string RedisPrefix => $"fs:{{{Id}}}:";

    public string OrdersPath => $"/api/v1/sales/{Id}/orders";
}

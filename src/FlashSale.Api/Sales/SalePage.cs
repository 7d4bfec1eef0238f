using System.Text.Json.Serialization;

namespace FlashSale.Api.Sales;

/// <summary>Money in the form of the contract.</summary>
/// <param name="Amount">The amount in minor units.</param>
/// <param name="Currency">The currency code of ISO 4217.</param>
public sealed record Money(long Amount, string Currency);

/// <summary>A sale as shoppers see it in the list.</summary>
public sealed record SaleHead(string SaleId, string Name, string Status, string OpensAt, string ClosesAt, string ServerTime, bool RequiresTicket);

/// <summary>A sale as shoppers see it on its own page.</summary>
public sealed record SalePage(
    string SaleId, string Name, string Status, string OpensAt, string ClosesAt, string ServerTime, bool RequiresTicket, IReadOnlyList<ItemPage> Items);

/// <summary>An item as shoppers see it. Availability is <c>available</c>, <c>low</c> or <c>sold_out</c>.</summary>
public sealed record ItemPage(
    string Sku, string Name, Money Price, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] Money? ListPrice, int PerUserLimit, string Availability);

/// <summary>The list of sales, newest first.</summary>
public sealed record SaleList(IReadOnlyList<SaleHead> Sales);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(SaleList))]
[JsonSerializable(typeof(SalePage))]
internal sealed partial class SalePagesJson : JsonSerializerContext;

using System.ComponentModel;
using FlashSale.Admin.Http;
using FlashSale.Sales;

namespace FlashSale.Admin.Sales;

/// <summary>Money in the form of the contract.</summary>
/// <param name="Amount">The amount in minor units.</param>
/// <param name="Currency">The currency code of ISO 4217.</param>
public sealed record Money(long Amount, string Currency);

/// <summary>The body that creates or replaces a draft, as OpenAPI shows it. <see cref="SaleForm"/> reads it.</summary>
[Description("A sale that is not preloaded yet. A PUT replaces all of it, the items too.")]
public sealed record SaleBody(
    string Name, DateTimeOffset OpensAt, DateTimeOffset ClosesAt, IReadOnlyList<ItemBody> Items, int? PerUserLimit = null, int? PayWithinSeconds = SaleBounds.DefaultPayWithinSeconds,
    bool? RequiresTicket = false, int? AdmissionPerSecond = null, bool? LoadRun = false);

/// <summary>An item of a draft, as OpenAPI shows it.</summary>
public sealed record ItemBody(string Sku, string Name, Money Price, int Stock, Money? ListPrice = null, int? PerUserLimit = 1);

/// <summary>Reads and checks the body of a draft.</summary>
public static class SaleForm
{
    internal const string SkuRule = "1 to 64 of A-Z a-z 0-9 . _ -";
    internal static readonly string TooManyItems = $"must be at most {SaleBounds.MaxItems}";
    internal const string NameRule = "1 to 200 characters, not blank, without control characters";

    /// <summary>Reads a sale and checks each of its members.</summary>
    public static SaleDraft Read(JsonForm form, FormErrors errors)
    {
        var name = form.Text("name", text => SaleBounds.IsName(text), NameRule);
        var opensAt = form.Time("opensAt");
        var closesAt = form.Time("closesAt");
        var perUserLimit = form.OptionalNumber("perUserLimit", 1, SaleBounds.MaxPerUserLimit);
        var payWithin = form.OptionalNumber("payWithinSeconds", 1, SaleBounds.MaxPayWithinSeconds);
        var requiresTicket = form.OptionalFlag("requiresTicket") ?? false;
        var admissionPerSecond = form.OptionalNumber("admissionPerSecond", 1, SaleBounds.MaxAdmissionPerSecond);
        var isLoadRun = form.OptionalFlag("loadRun") ?? false;
        var items = form.Objects("items", ReadItem);
        if (items.Count > SaleBounds.MaxItems) form.Error("items", TooManyItems);
        // A time that could not be read is null, and so never above or below the other. Its error was added already.
        if (closesAt <= opensAt) form.Error("closesAt", "must be after opensAt");
        var skus = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var i = 0; i < items.Count; i++)
        {
            if (items[i].Sku.Length > 0 && !skus.TryAdd(items[i].Sku, i)) errors.Add($"items[{i}].sku", $"is the same as items[{skus[items[i].Sku]}].sku");
        }
        return new SaleDraft(name, opensAt ?? 0, closesAt ?? 0, (int?)perUserLimit, (int)(payWithin ?? SaleBounds.DefaultPayWithinSeconds), requiresTicket, (int?)admissionPerSecond, isLoadRun, items);
    }

    private static ItemDraft ReadItem(JsonForm form)
    {
        var sku = form.Text("sku", text => SaleBounds.IsSku(text), SkuRule);
        var name = form.Text("name", text => SaleBounds.IsName(text), NameRule);
        var price = form.Money("price", required: true);
        var listPrice = form.Money("listPrice", required: false);
        var stock = form.Number("stock", 0, SaleBounds.MaxStock);
        var perUserLimit = form.OptionalNumber("perUserLimit", 1, SaleBounds.MaxPerUserLimit) ?? 1;
        if (price is { Currency.Length: > 0 } && listPrice is { Currency.Length: > 0 } && price.Value.Currency != listPrice.Value.Currency)
            form.Error("listPrice.currency", "must be the currency of the price");
        return new ItemDraft(sku, name, price?.Amount ?? 0, listPrice?.Amount, price?.Currency ?? "", (int)stock, (int)perUserLimit);
    }
}

using System.Globalization;
using FlashSale.Admin.Http;
using FlashSale.Sales;

namespace FlashSale.Admin.Sales;

/// <summary>
/// Reads items from CSV. The fields listPrice and perUserLimit may be empty. Numbers are digits only.
/// </summary>
public sealed class ItemCsv(Stream body, LineErrors errors) : IDisposable
{
    private static readonly string[] Columns = ["sku", "name", "price", "listPrice", "currency", "stock", "perUserLimit"];

    private readonly CsvLines _csv = new(body, errors, Columns);

    /// <summary>The line number of the latest item.</summary>
    public int Line => _csv.Line;

    /// <summary>Reads the header. When the header is wrong, it adds the errors and returns false.</summary>
    public Task<bool> ReadHeaderAsync(CancellationToken cancellation) => _csv.ReadHeaderAsync(cancellation);

    /// <summary>Reads the next valid item. Lines that are not valid items become errors. Null at the end.</summary>
    public async Task<ItemDraft?> ReadItemAsync(CancellationToken cancellation)
    {
        while (await _csv.ReadAsync(cancellation))
        {
            if (Parse() is { } item) return item;
        }
        return null;
    }

    /// <inheritdoc />
    public void Dispose() => _csv.Dispose();

    private ItemDraft? Parse()
    {
        var valid = true;
        var sku = _csv.Text(0);
        Check(SaleBounds.IsSku(sku), 0, SaleForm.SkuRule);
        var name = _csv.Text(1);
        Check(SaleBounds.IsName(name) && _csv.IsUtf8(1), 1, $"{SaleForm.NameRule}, in UTF-8");
        var price = Number(2, 0, SaleBounds.MaxPrice);
        var listPrice = _csv.IsEmpty(3) ? (long?)null : Number(3, 0, SaleBounds.MaxPrice);
        var currency = _csv.Text(4);
        Check(SaleBounds.IsCurrency(currency), 4, "three capital letters (ISO 4217)");
        var stock = Number(5, 0, SaleBounds.MaxStock);
        var perUserLimit = _csv.IsEmpty(6) ? 1 : Number(6, 1, SaleBounds.MaxPerUserLimit);
        return valid ? new ItemDraft(sku, name, price, listPrice, currency, (int)stock, (int)perUserLimit) : null;

        long Number(int column, long min, long max)
        {
            var digits = _csv.Bytes(column);
            var number = 0L;
            // A number consists of digits only, as it would be written back: no sign, no blank, no leading zero.
            var ok = digits.Length is >= 1 and <= 18 && !digits.ContainsAnyExceptInRange((byte)'0', (byte)'9') && (digits.Length == 1 || digits[0] != '0')
                && long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number >= min && number <= max;
            Check(ok, column, $"an integer from {min} to {max}");
            return number;
        }

        void Check(bool ok, int column, string rule)
        {
            if (ok) return;
            valid = false;
            _csv.Error(column, rule);
        }
    }
}

using System.Globalization;
using System.Text.Unicode;
using CsvHelper;
using FlashSale.Platform;
using FlashSale.Sales;

namespace FlashSale.Admin.Sales;

/// <summary>What is wrong with a file, by lines: the first hundred, and how many more there are.</summary>
public sealed class LineErrors
{
    /// <summary>How many are told one by one.</summary>
    public const int Shown = 100;

    private readonly List<(int Line, string Message)> _errors = [];
    private long _count;

    /// <summary>Whether there is any.</summary>
    public bool Any => _count > 0;

    /// <summary>Adds one. Lines come in order, up to those that are found when the file has been read.</summary>
    public void Add(int line, string message)
    {
        _count++;
        if (_errors.Count < Shown * 2) _errors.Add((line, message));
    }

    /// <summary>Counts errors that are not told.</summary>
    public void AddUntold(long count) => _count += count;

    /// <summary>All of them as the problem shows them.</summary>
    public List<ProblemError> ToProblem()
    {
        var shown = _errors.OrderBy(error => error.Line).Take(Shown).Select(error => ProblemError.InLine(error.Line, error.Message)).ToList();
        if (_count > shown.Count) shown.Add(shown[^1] with { Message = $"and {_count - shown.Count} more errors after this line" });
        return shown;
    }
}

/// <summary>
/// Reads items from CSV (RFC 4180, UTF-8) a line at a time. Columns are known by their names, in any order; listPrice and
/// perUserLimit may be empty. Numbers are digits only. A line is told by its number in the file, the header's being 1.
/// </summary>
public sealed class ItemCsv : IDisposable
{
    private static readonly string[] Columns = ["sku", "name", "price", "listPrice", "currency", "stock", "perUserLimit"];

    private readonly CsvReader _csv;
    private readonly LineErrors _errors;
    private readonly int[] _positions = new int[Columns.Length];
    private int _width;

    /// <summary>Reads from a stream, with or without a byte order mark.</summary>
    public ItemCsv(Stream body, LineErrors errors)
    {
        _errors = errors;
        _csv = CsvReader.Create(body, new CsvReaderOptions
        {
            Separator = ',',
            HasHeader = false,
            // No member may hold a line break; and so a quote that is not closed spoils its line and not the file.
            AllowLineBreaksInQuotes = false,
            MalformedData = CsvMalformedDataHandling.Skip,
            OnMalformedRecord = record => errors.Add((int)record.LineNumber, "has a quote that is not closed, or one inside a field; quote the whole field and double the quotes in it"),
            MaxRecordSize = 16 * 1024,
            TrackLineNumbers = true,
        });
    }

    /// <summary>The line of the latest item.</summary>
    public int Line { get; private set; }

    /// <summary>Reads the header; false when it is not one, which is told.</summary>
    public async Task<bool> ReadHeaderAsync(CancellationToken cancellation)
    {
        if (!await ReadRecordAsync(cancellation))
        {
            if (!_errors.Any) _errors.Add(1, $"the header is missing; it names the columns {string.Join(",", Columns)}");
            return false;
        }
        _width = _csv.FieldCount;
        var header = Enumerable.Range(0, _width).Select(_csv.GetString).ToArray();
        for (var i = 0; i < Columns.Length; i++)
        {
            _positions[i] = Array.IndexOf(header, Columns[i]);
            if (_positions[i] < 0) _errors.Add(Line, $"the column {Columns[i]} is missing");
            else if (Array.LastIndexOf(header, Columns[i]) != _positions[i]) _errors.Add(Line, $"the column {Columns[i]} is there twice");
        }
        foreach (var name in header.Except(Columns)) _errors.Add(Line, $"the column '{Cut(name)}' is not known; known are {string.Join(",", Columns)}");
        return !_errors.Any;
    }

    /// <summary>Reads the next line that is an item; lines that are none are told. Null at the end.</summary>
    public async Task<ItemDraft?> ReadItemAsync(CancellationToken cancellation)
    {
        while (await ReadRecordAsync(cancellation))
        {
            if (_csv.FieldCount != _width) _errors.Add(Line, $"has {_csv.FieldCount} fields; the header has {_width}");
            else if (Parse() is { } item) return item;
        }
        return null;
    }

    /// <inheritdoc />
    public void Dispose() => _csv.Dispose();

    private async Task<bool> ReadRecordAsync(CancellationToken cancellation)
    {
        try
        {
            if (!await _csv.ReadAsync(cancellation)) return false;
            Line = (int)_csv.LineNumber;
            return true;
        }
        catch (CsvFormatException e)
        {
            _errors.Add(Math.Max(Line + 1, (int)e.LineNumber), "is longer than 16 KiB; nothing after it was read");
            return false;
        }
    }

    private ItemDraft? Parse()
    {
        var valid = true;
        var sku = Field(0);
        Check(SaleBounds.IsSku(sku), "sku", SaleForm.SkuRule);
        var name = Field(1);
        Check(SaleBounds.IsName(name) && Utf8.IsValid(_csv.GetSpan(_positions[1])), "name", $"{SaleForm.NameRule}, in UTF-8");
        var price = Number(2, 0, SaleBounds.MaxPrice);
        var listPrice = _csv.IsEmpty(_positions[3]) ? (long?)null : Number(3, 0, SaleBounds.MaxPrice);
        var currency = Field(4);
        Check(SaleBounds.IsCurrency(currency), "currency", "three capital letters (ISO 4217)");
        var stock = Number(5, 0, SaleBounds.MaxStock);
        var perUserLimit = _csv.IsEmpty(_positions[6]) ? 1 : Number(6, 1, SaleBounds.MaxPerUserLimit);
        return valid ? new ItemDraft(sku, name, price, listPrice, currency, (int)stock, (int)perUserLimit) : null;

        string Field(int column) => _csv.GetString(_positions[column]);

        long Number(int column, long min, long max)
        {
            var digits = _csv.GetSpan(_positions[column]);
            var number = 0L;
            // Digits only, as they would be written back: no sign, no blank, no leading zero.
            var ok = digits.Length is >= 1 and <= 18 && !digits.ContainsAnyExceptInRange((byte)'0', (byte)'9') && (digits.Length == 1 || digits[0] != '0')
                && long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number >= min && number <= max;
            Check(ok, Columns[column], $"an integer from {min} to {max}");
            return number;
        }

        void Check(bool ok, string column, string rule)
        {
            if (ok) return;
            valid = false;
            _errors.Add(Line, $"{column} must be {rule}");
        }
    }

    private static string Cut(string text) => text.Length <= 64 ? text : text[..64];
}

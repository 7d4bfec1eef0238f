using System.Text.Unicode;
using CsvHelper;
using FlashSale.Platform;
using Microsoft.Net.Http.Headers;

namespace FlashSale.Admin.Http;

/// <summary>The errors of a file by line: the first hundred one by one, and the number of the others.</summary>
public sealed class LineErrors
{
    /// <summary>How many errors are shown one by one.</summary>
    public const int Shown = 100;

    private readonly List<(int Line, string Message)> _errors = [];
    private long _count;

    /// <summary>Whether there is any error.</summary>
    public bool Any => _count > 0;

    /// <summary>
    /// Adds an error. Errors come in the order of the lines, except those that are found after the file has been read.
    /// </summary>
    public void Add(int line, string message)
    {
        _count++;
        if (_errors.Count < Shown * 2) _errors.Add((line, message));
    }

    /// <summary>Counts errors that are not shown.</summary>
    public void AddUntold(long count) => _count += count;

    /// <summary>The errors as the problem shows them, in the order of the lines.</summary>
    public List<ProblemError> ToProblem()
    {
        var shown = _errors.OrderBy(error => error.Line).Take(Shown).Select(error => ProblemError.InLine(error.Line, error.Message)).ToList();
        if (_count > shown.Count) shown.Add(shown[^1] with { Message = $"and {_count - shown.Count} more errors after this line" });
        return shown;
    }
}

/// <summary>
/// Reads CSV (RFC 4180, UTF-8) line by line. Columns are found by their names, in any order. Lines are numbered as in
/// the file, and the header is line 1.
/// </summary>
public sealed class CsvLines : IDisposable
{
    private readonly CsvReader _csv;
    private readonly LineErrors _errors;
    private readonly string[] _columns;
    private readonly int[] _positions;
    private int[] _nameless = [];
    private int _width;

    /// <summary>Reads from a stream, with or without a byte order mark.</summary>
    public CsvLines(Stream body, LineErrors errors, params string[] columns)
    {
        _errors = errors;
        _columns = columns;
        _positions = new int[columns.Length];
        _csv = CsvReader.Create(body, new CsvReaderOptions
        {
            Separator = ',',
            HasHeader = false,
            // A field cannot hold a line break. So a quote that is not closed spoils its line and not the rest of the
            // file.
            AllowLineBreaksInQuotes = false,
            MalformedData = CsvMalformedDataHandling.Skip,
            OnMalformedRecord = record => errors.Add((int)record.LineNumber, "has a quote that is not closed, or one inside a field; quote the whole field and double the quotes in it"),
            MaxRecordSize = 16 * 1024,
            TrackLineNumbers = true,
        });
    }

    /// <summary>The number of the latest line.</summary>
    public int Line { get; private set; }

    /// <summary>Whether a media type is text/csv in UTF-8.</summary>
    public static bool IsCsv(string? contentType) =>
        MediaTypeHeaderValue.TryParse(contentType, out var type) && type.MediaType.Equals("text/csv", StringComparison.OrdinalIgnoreCase)
        && (!type.Charset.HasValue || HeaderUtilities.RemoveQuotes(type.Charset).ToString().ToLowerInvariant() is "utf-8" or "utf8");

    /// <summary>Reads the header. When the header is wrong, it adds the errors and returns false.</summary>
    public async Task<bool> ReadHeaderAsync(CancellationToken cancellation)
    {
        if (!await ReadRecordAsync(cancellation))
        {
            if (!_errors.Any) _errors.Add(1, $"the header is missing; it names the columns {string.Join(",", _columns)}");
            return false;
        }
        _width = _csv.FieldCount;
        var header = Enumerable.Range(0, _width).Select(_csv.GetString).ToArray();
        if (header is [var only] && only.AsSpan().IndexOfAny(';', '\t', '|') is >= 0 and var at)
        {
            // One error is enough. Otherwise every column would be reported as missing too.
            _errors.Add(Line, $"the columns are separated by {(only[at] == '\t' ? "tabs" : $"'{only[at]}'")} here; separate them by commas");
            return false;
        }
        _nameless = [.. Enumerable.Range(0, _width).Where(i => header[i].Length == 0)];
        for (var i = 0; i < _columns.Length; i++)
        {
            _positions[i] = Array.IndexOf(header, _columns[i]);
            if (_positions[i] < 0) _errors.Add(Line, $"the column {_columns[i]} is missing");
            else if (Array.LastIndexOf(header, _columns[i]) != _positions[i]) _errors.Add(Line, $"the column {_columns[i]} is there twice");
        }
        foreach (var name in header.Except(_columns).Where(name => name.Length > 0)) _errors.Add(Line, $"the column '{Cut(name)}' is not known; known are {string.Join(",", _columns)}");
        return !_errors.Any;
    }

    /// <summary>
    /// Goes to the next line with as many fields as the header. Other lines become errors. Spreadsheets leave lines and
    /// columns of nothing but commas at the end, and those are passed over. False at the end.
    /// </summary>
    public async Task<bool> ReadAsync(CancellationToken cancellation)
    {
        while (await ReadRecordAsync(cancellation))
        {
            if (IsBlank()) continue;
            if (_csv.FieldCount != _width) _errors.Add(Line, $"has {_csv.FieldCount} fields; the header has {_width}");
            else if (_nameless.Any(column => !_csv.IsEmpty(column))) _errors.Add(Line, "has something in a column that has no name in the header");
            else return true;
        }
        return false;
    }

    /// <summary>A field of the line as text. The column is its index in the constructor's columns.</summary>
    public string Text(int column) => _csv.GetString(_positions[column]);

    /// <summary>A field of the line as the bytes of the file.</summary>
    public ReadOnlySpan<byte> Bytes(int column) => _csv.GetSpan(_positions[column]);

    /// <summary>Whether a field of the line is empty.</summary>
    public bool IsEmpty(int column) => _csv.IsEmpty(_positions[column]);

    /// <summary>Whether a field of the line is UTF-8.</summary>
    public bool IsUtf8(int column) => Utf8.IsValid(Bytes(column));

    /// <summary>Adds an error about a field of the line.</summary>
    public void Error(int column, string rule) => _errors.Add(Line, $"{_columns[column]} must be {rule}");

    /// <inheritdoc />
    public void Dispose() => _csv.Dispose();

    private bool IsBlank()
    {
        for (var i = 0; i < _csv.FieldCount; i++)
        {
            if (!_csv.IsEmpty(i)) return false;
        }
        return true;
    }

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

    private static string Cut(string text) => text.Length <= 64 ? text : text[..64];
}

using FlashSale.Admin.Http;
using FlashSale.Admin.Stock;
using FlashSale.Admission;
using FlashSale.Contracts;

namespace FlashSale.Admin.Blocklist;

/// <summary>Reads entries of the blocklist from CSV. The field until may be empty.</summary>
public sealed class BlocklistCsv(Stream body, LineErrors errors, DateTimeOffset now) : IDisposable
{
    private readonly CsvLines _csv = new(body, errors, "kind", "value", "reason", "until");

    /// <summary>The line number of the latest entry.</summary>
    public int Line => _csv.Line;

    /// <summary>Reads the header. When the header is wrong, it adds the errors and returns false.</summary>
    public Task<bool> ReadHeaderAsync(CancellationToken cancellation) => _csv.ReadHeaderAsync(cancellation);

    /// <summary>Reads the next valid entry. Lines that are not valid entries become errors. Null at the end.</summary>
    public async Task<BlockDraft?> ReadEntryAsync(CancellationToken cancellation)
    {
        while (await _csv.ReadAsync(cancellation))
        {
            if (Parse() is { } entry) return entry;
        }
        return null;
    }

    /// <inheritdoc />
    public void Dispose() => _csv.Dispose();

    private BlockDraft? Parse()
    {
        var subject = ReadSubject();
        var reason = _csv.Text(2);
        var isReason = StockEndpoints.IsReason(reason) && _csv.IsUtf8(2);
        if (!isReason) _csv.Error(2, $"{StockEndpoints.ReasonRule}, in UTF-8");
        var isUntil = TryReadUntil(out var until);
        return subject is not null && isReason && isUntil ? new BlockDraft(subject, reason, until) : null;
    }

    private BlockedSubject? ReadSubject()
    {
        if (!BlockedSubject.TryReadKind(_csv.Text(0), out var kind))
        {
            _csv.Error(0, BlockedSubject.Kinds);
            return null;
        }
        if (!BlockedSubject.TryRead(kind, _csv.Text(1), out var subject, out var rule)) _csv.Error(1, rule);
        return subject;
    }

    private bool TryReadUntil(out DateTimeOffset? until)
    {
        until = null;
        if (_csv.IsEmpty(3)) return true;
        if (!Timestamps.TryRead(_csv.Text(3), out var milliseconds))
        {
            _csv.Error(3, Timestamps.Rule);
            return false;
        }
        until = DateTimeOffset.FromUnixTimeMilliseconds(milliseconds);
        if (until > now) return true;
        _csv.Error(3, BlocklistEndpoints.UntilRule);
        return false;
    }
}

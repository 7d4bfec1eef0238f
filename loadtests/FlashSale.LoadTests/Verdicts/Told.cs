using System.Buffers.Binary;
using System.Buffers.Text;
using System.Numerics;
using System.Text;

namespace FlashSale.LoadTests.Verdicts;

/// <summary>One purchase as a shopper saw it.</summary>
/// <param name="StartedMicroseconds">When it was sent, by <see cref="RunClock"/>.</param>
/// <param name="EndedMicroseconds">When the answer was there, or the shopper gave up.</param>
/// <param name="UserId">Who: the token's sub.</param>
/// <param name="Key">The idempotency key.</param>
/// <param name="Sku">What was asked for.</param>
/// <param name="Quantity">Units asked for.</param>
/// <param name="Status">HTTP status; 0: no answer.</param>
/// <param name="Code">The problem's code; empty for a 202 or no answer.</param>
/// <param name="OrderId">Of a 202; else empty.</param>
/// <param name="IsReplay">Whether the answer was marked as a replay.</param>
/// <param name="BodyHash">Of the answer's body, by <see cref="HashOf"/>.</param>
public readonly record struct Told(
    long StartedMicroseconds, long EndedMicroseconds, string UserId, string Key, string Sku, int Quantity, int Status, string Code, Guid OrderId, bool IsReplay, ulong BodyHash)
{
    // What only the script decides: whoever is told so has had their key looked up first.
    private static readonly HashSet<string> Decisions = new(StringComparer.Ordinal)
        { "sold_out", "purchase_limit_reached", "sale_closed", "sale_paused", "sale_not_open", "ticket_required", "ticket_invalid" };

    private static readonly string[] Codes = ["sold_out", "purchase_limit_reached", "overloaded", "rate_limited", "outcome_unknown", "temporarily_unavailable", "unauthenticated"];

    /// <summary>The code of a request that never left: nothing can have become of it.</summary>
    public const string NothingSent = "not_sent";

    /// <summary>Whether the shopper cannot know what became of it: no answer, or one that does not say (another's 502, a 500).</summary>
    public bool IsUnknown => Status is 0 or >= 500 && Code is not (NothingSent or "overloaded" or "temporarily_unavailable" or "purchases_suspended");

    public bool IsAccepted => Status == 202;

    /// <summary>Refused for good, as this key's outcome: settles what was unknown before, where "come again later" does not.</summary>
    public bool IsDecision => Decisions.Contains(Code);

    /// <summary>Whether a shopper knows, after this answer, what became of the purchase.</summary>
    /// <param name="wasUnknown">Whether an earlier answer to the same key left it open.</param>
    public bool IsSettled(bool wasUnknown) => IsAccepted || IsDecision || !(IsUnknown || wasUnknown);

    /// <summary>Reads an answer as it came.</summary>
    /// <param name="started">When it was sent.</param>
    /// <param name="ended">When the answer was there.</param>
    /// <param name="userId">Who.</param>
    /// <param name="key">The idempotency key.</param>
    /// <param name="sku">What was asked for.</param>
    /// <param name="quantity">Units asked for.</param>
    /// <param name="status">0: no answer.</param>
    /// <param name="body">As sent.</param>
    /// <param name="isReplay">Whether it was marked as a replay.</param>
    public static Told Of(long started, long ended, string userId, string key, string sku, int quantity, int status, ReadOnlySpan<byte> body, bool isReplay)
    {
        var orderId = status == 202 && Utf8Parser.TryParse(ValueOf("\"orderId\":\""u8, body), out Guid id, out _) ? id : Guid.Empty;
        var code = status is 202 or 0 ? "" : CodeOf(ValueOf("\"code\":\""u8, body));
        return new Told(started, ended, userId, key, sku, quantity, status, code, orderId, isReplay, HashOf(body));
    }

    /// <summary>A request that found no connection.</summary>
    public static Told NotSent(long started, long ended, string userId, string key, string sku, int quantity) =>
        new(started, ended, userId, key, sku, quantity, 0, NothingSent, Guid.Empty, false, 0);

    /// <summary>64 bits of an answer's body. Two bodies that differ in eight bytes or fewer, aligned, never have the same.</summary>
    public static ulong HashOf(ReadOnlySpan<byte> body)
    {
        const ulong Prime = 0x9E3779B97F4A7C15;
        var hash = (ulong)body.Length * Prime;
        for (; body.Length >= 8; body = body[8..]) hash = BitOperations.RotateLeft((hash ^ BinaryPrimitives.ReadUInt64LittleEndian(body)) * Prime, 29);
        Span<byte> rest = stackalloc byte[8];
        rest.Clear();
        body.CopyTo(rest);
        hash = (hash ^ BinaryPrimitives.ReadUInt64LittleEndian(rest)) * Prime;
        return hash ^ hash >> 32;
    }

    private static ReadOnlySpan<byte> ValueOf(ReadOnlySpan<byte> member, ReadOnlySpan<byte> body)
    {
        var at = body.IndexOf(member);
        if (at < 0) return [];
        var value = body[(at + member.Length)..];
        var end = value.IndexOf((byte)'"');
        return end < 0 ? [] : value[..end];
    }

    // Refusals come by the hundred thousand, in a handful of codes.
    private static string CodeOf(ReadOnlySpan<byte> code)
    {
        foreach (var known in Codes)
        {
            if (Ascii.Equals(code, known)) return known;
        }
        return Encoding.UTF8.GetString(code);
    }
}

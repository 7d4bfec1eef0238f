using System.Buffers.Binary;
using System.Buffers.Text;
using System.Numerics;
using System.Text;

namespace FlashSale.LoadTests.Verdicts;

/// <summary>One purchase as a shopper saw it.</summary>
/// <param name="StartedMicroseconds">Time at which it was sent, by <see cref="RunClock"/>.</param>
/// <param name="EndedMicroseconds">Time at which the answer was there, or the shopper gave up.</param>
/// <param name="UserId">The token's sub.</param>
/// <param name="Key">The idempotency key.</param>
/// <param name="Sku">The item asked for.</param>
/// <param name="Quantity">Units asked for.</param>
/// <param name="Status">HTTP status. 0: no answer.</param>
/// <param name="Code">The problem's code, or <see cref="NothingSent"/>. Empty for a 202 or a missing answer.</param>
/// <param name="OrderId">The order of a 202, otherwise empty.</param>
/// <param name="IsReplay">Whether the answer was marked as a replay.</param>
/// <param name="BodyHash">Hash of the answer's body, by <see cref="HashOf"/>.</param>
public readonly record struct Told(
    long StartedMicroseconds, long EndedMicroseconds, string UserId, string Key, string Sku, int Quantity, int Status, string Code, Guid OrderId, bool IsReplay, ulong BodyHash)
{
    // Only the script makes these decisions, and it looks up the shopper's key first.
    private static readonly HashSet<string> Decisions = new(StringComparer.Ordinal)
        { "sold_out", "purchase_limit_reached", "sale_closed", "sale_paused", "sale_not_open", "ticket_required", "ticket_invalid" };

    private static readonly string[] Codes = ["sold_out", "purchase_limit_reached", "overloaded", "rate_limited", "outcome_unknown", "temporarily_unavailable", "unauthenticated"];

    /// <summary>Code of a request that was never sent. It cannot have had an effect.</summary>
    public const string NothingSent = "not_sent";

    /// <summary>
    /// Whether the shopper cannot know the outcome: there was no answer, or the answer does not tell it (another host's
    /// 502, a 500).
    /// </summary>
    public bool IsUnknown => Status is 0 or >= 500 && Code is not (NothingSent or "overloaded" or "temporarily_unavailable" or "purchases_suspended");

    public bool IsAccepted => Status == 202;

    /// <summary>
    /// Whether the purchase was refused for good, as this key's outcome. That settles an outcome that was unknown
    /// before, but "come again later" does not.
    /// </summary>
    public bool IsDecision => Decisions.Contains(Code);

    /// <summary>Returns whether a shopper knows the outcome of the purchase after this answer.</summary>
    /// <param name="wasUnknown">Whether an earlier answer to the same key left the outcome open.</param>
    public bool IsSettled(bool wasUnknown) => IsAccepted || IsDecision || !(IsUnknown || wasUnknown);

    /// <summary>Reads an answer as it came.</summary>
    /// <param name="started">Time at which the request was sent.</param>
    /// <param name="ended">Time at which the answer was there.</param>
    /// <param name="userId">The token's sub.</param>
    /// <param name="key">The idempotency key.</param>
    /// <param name="sku">The item asked for.</param>
    /// <param name="quantity">Units asked for.</param>
    /// <param name="status">HTTP status. 0: no answer.</param>
    /// <param name="body">The body as it was sent.</param>
    /// <param name="isReplay">Whether the answer was marked as a replay.</param>
    public static Told Of(long started, long ended, string userId, string key, string sku, int quantity, int status, ReadOnlySpan<byte> body, bool isReplay)
    {
        var orderId = status == 202 && Utf8Parser.TryParse(ValueOf("\"orderId\":\""u8, body), out Guid id, out _) ? id : Guid.Empty;
        var code = status is 202 or 0 ? "" : CodeOf(ValueOf("\"code\":\""u8, body));
        return new Told(started, ended, userId, key, sku, quantity, status, code, orderId, isReplay, HashOf(body));
    }

    /// <summary>Creates the record of a request that found no connection.</summary>
    public static Told NotSent(long started, long ended, string userId, string key, string sku, int quantity) =>
        new(started, ended, userId, key, sku, quantity, 0, NothingSent, Guid.Empty, false, 0);

    /// <summary>
    /// Returns a hash of 64 bits of an answer's body. Two bodies that differ in eight bytes or fewer, aligned, never
    /// have the same hash.
    /// </summary>
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

    // Refusals come by the hundred thousand, with a handful of codes. So known codes share their strings.
    private static string CodeOf(ReadOnlySpan<byte> code)
    {
        foreach (var known in Codes)
        {
            if (Ascii.Equals(code, known)) return known;
        }
        return Encoding.UTF8.GetString(code);
    }
}

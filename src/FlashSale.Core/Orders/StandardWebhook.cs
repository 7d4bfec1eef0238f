using System.ComponentModel.DataAnnotations;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using FlashSale.Platform;

namespace FlashSale.Orders;

/// <summary>What a payment provider signs its webhooks with. Section <c>Webhook</c>.</summary>
public sealed class WebhookOptions
{
    /// <summary><c>whsec_</c> and the base64 of 24 to 64 bytes.</summary>
    [Required, Secret]
    public string Secret { get; set; } = "";

    /// <summary>The secret before that one: during a rotation the provider may still sign with it.</summary>
    [Secret]
    public string? PreviousSecret { get; set; }

    /// <summary>Whether the units of a paid order go back on sale when the provider refunds it without having been asked.</summary>
    public bool RefundsReturnUnits { get; set; } = true;

    /// <summary>Makes the verifier.</summary>
    /// <exception cref="InvalidSettingException">A secret is not one.</exception>
    public StandardWebhook Read(TimeProvider time)
    {
        var keys = new List<byte[]> { ReadKey(Secret, nameof(Secret)) };
        if (!string.IsNullOrEmpty(PreviousSecret)) keys.Add(ReadKey(PreviousSecret, nameof(PreviousSecret)));
        return new StandardWebhook(keys, time);
    }

    private static byte[] ReadKey(string secret, string name) => StandardWebhook.TryReadSecret(secret, out var key)
        ? key
        : throw new InvalidSettingException($"Webhook:{name} = (hidden): must be whsec_ and the base64 of {StandardWebhook.MinKeyBytes} to {StandardWebhook.MaxKeyBytes} bytes.");
}

/// <summary>What is to be said of a webhook's signature.</summary>
public enum WebhookSignature
{
    /// <summary>One of the signatures is of one of the keys, and recent.</summary>
    Valid,

    /// <summary>A header is missing or not of its form.</summary>
    Malformed,

    /// <summary>Signed too long ago.</summary>
    TooOld,

    /// <summary>Signed in the future.</summary>
    TooNew,

    /// <summary>No signature is of any of the keys.</summary>
    NotOurs,
}

/// <summary>
/// Standard Webhooks (standardwebhooks.com), symmetric: HMAC-SHA256 of <c>id.timestamp.body</c>, in base64 after
/// <c>v1,</c>. A header may hold several signatures, and several keys may be good, so that a key can be rotated
/// by one side at a time.
/// </summary>
/// <param name="keys">The keys, the one to sign with first.</param>
/// <param name="time">Judges the age of a signature.</param>
public sealed class StandardWebhook(IReadOnlyList<byte[]> keys, TimeProvider time)
{
    /// <summary>Shortest key, in bytes.</summary>
    public const int MinKeyBytes = 24;

    /// <summary>Longest key, in bytes.</summary>
    public const int MaxKeyBytes = 64;

    /// <summary>Longest id, in characters.</summary>
    public const int MaxIdLength = 256;

    /// <summary>Header with the id of the message: the same however often it is delivered.</summary>
    public const string IdHeader = "webhook-id";

    /// <summary>Header with the time of the delivery, Unix seconds.</summary>
    public const string TimestampHeader = "webhook-timestamp";

    /// <summary>Header with the signatures, separated by spaces.</summary>
    public const string SignatureHeader = "webhook-signature";

    /// <summary>How far a timestamp may be off, into the past and into the future: longer, and a captured message could be sent again.</summary>
    public static readonly TimeSpan Tolerance = TimeSpan.FromMinutes(5);

    private const string SecretPrefix = "whsec_";
    private const string VersionPrefix = "v1,";
    private const int SignatureLength = 44;   // base64 of 32 bytes
    private const int MaxTimestampLength = 12;

    /// <summary>Reads a secret of the form <c>whsec_…</c>.</summary>
    public static bool TryReadSecret(string secret, [NotNullWhen(true)] out byte[]? key)
    {
        key = null;
        if (!secret.StartsWith(SecretPrefix, StringComparison.Ordinal)) return false;
        Span<byte> bytes = stackalloc byte[MaxKeyBytes];
        if (!Convert.TryFromBase64Chars(secret.AsSpan(SecretPrefix.Length), bytes, out var length) || length < MinKeyBytes) return false;
        key = bytes[..length].ToArray();
        return true;
    }

    /// <summary>Signs a message with the first key.</summary>
    /// <param name="id">Of the message.</param>
    /// <param name="unixSeconds">Of this delivery.</param>
    /// <param name="body">As it goes over the wire.</param>
    public string Sign(string id, long unixSeconds, ReadOnlySpan<byte> body) =>
        VersionPrefix + Convert.ToBase64String(HMACSHA256.HashData(keys[0], Signed(id, unixSeconds.ToString(), body)));

    /// <summary>Judges a message.</summary>
    /// <param name="id">Header <see cref="IdHeader"/>.</param>
    /// <param name="timestamp">Header <see cref="TimestampHeader"/>.</param>
    /// <param name="signatures">Header <see cref="SignatureHeader"/>.</param>
    /// <param name="body">As it came over the wire.</param>
    public WebhookSignature Verify(string? id, string? timestamp, string? signatures, ReadOnlySpan<byte> body)
    {
        if (!IsId(id) || !TryReadTimestamp(timestamp, out var signedAt) || string.IsNullOrEmpty(signatures)) return WebhookSignature.Malformed;
        var age = time.GetUtcNow().ToUnixTimeSeconds() - signedAt;
        if (age > Tolerance.TotalSeconds) return WebhookSignature.TooOld;
        if (age < -Tolerance.TotalSeconds) return WebhookSignature.TooNew;

        var signed = Signed(id, timestamp, body);
        Span<byte> expected = stackalloc byte[HMACSHA256.HashSizeInBytes];
        foreach (var key in keys)
        {
            HMACSHA256.HashData(key, signed, expected);
            if (Contains(signatures, expected)) return WebhookSignature.Valid;
        }
        return WebhookSignature.NotOurs;
    }

    // Visible ASCII without the separator: a dot could be moved from the id to the body without changing what is signed.
    private static bool IsId([NotNullWhen(true)] string? id) =>
        id is { Length: > 0 and <= MaxIdLength } && !id.AsSpan().ContainsAnyExceptInRange('!', '~') && !id.Contains('.', StringComparison.Ordinal);

    private static bool TryReadTimestamp([NotNullWhen(true)] string? timestamp, out long unixSeconds)
    {
        unixSeconds = 0;
        return timestamp is { Length: > 0 and <= MaxTimestampLength } && !timestamp.AsSpan().ContainsAnyExceptInRange('0', '9') && long.TryParse(timestamp, out unixSeconds);
    }

    private static byte[] Signed(string id, string timestamp, ReadOnlySpan<byte> body)
    {
        var head = Encoding.ASCII.GetBytes($"{id}.{timestamp}.");
        var signed = new byte[head.Length + body.Length];
        head.CopyTo(signed, 0);
        body.CopyTo(signed.AsSpan(head.Length));
        return signed;
    }

    // Signatures of other versions are somebody else's.
    private static bool Contains(string signatures, ReadOnlySpan<byte> expected)
    {
        Span<byte> given = stackalloc byte[HMACSHA256.HashSizeInBytes];
        foreach (var range in signatures.AsSpan().Split(' '))
        {
            var signature = signatures.AsSpan(range);
            if (!signature.StartsWith(VersionPrefix, StringComparison.Ordinal) || signature.Length != VersionPrefix.Length + SignatureLength) continue;
            if (Convert.TryFromBase64Chars(signature[VersionPrefix.Length..], given, out var length) && length == given.Length
                && CryptographicOperations.FixedTimeEquals(given, expected))
                return true;
        }
        return false;
    }
}

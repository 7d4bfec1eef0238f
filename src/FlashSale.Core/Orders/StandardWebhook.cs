using System.ComponentModel.DataAnnotations;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using FlashSale.Platform;

namespace FlashSale.Orders;

/// <summary>The secrets with which a payment provider signs its webhooks. Section <c>Webhook</c>.</summary>
public sealed class WebhookOptions
{
    /// <summary>The current secret: <c>whsec_</c> and the base64 of 24 to 64 bytes.</summary>
    [Required, Secret]
    public string Secret { get; set; } = "";

    /// <summary>The secret before the current one. During a rotation the provider may still sign with it.</summary>
    [Secret]
    public string? PreviousSecret { get; set; }

    /// <summary>Whether the units of a paid order go back on sale when the provider refunds it unasked.</summary>
    public bool RefundsReturnUnits { get; set; } = true;

    /// <summary>Makes the verifier from the secrets.</summary>
    /// <exception cref="InvalidSettingException">
    /// A secret is not <c>whsec_</c> and the base64 of 24 to 64 bytes.
    /// </exception>
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

/// <summary>The verdict on a webhook's signature.</summary>
public enum WebhookSignature
{
    /// <summary>One of the signatures was made with one of the keys, and its time is recent.</summary>
    Valid,

    /// <summary>A header is missing or malformed.</summary>
    Malformed,

    /// <summary>The timestamp is too far in the past.</summary>
    TooOld,

    /// <summary>The timestamp is too far in the future.</summary>
    TooNew,

    /// <summary>No signature was made with any of the keys.</summary>
    NotOurs,
}

/// <summary>
/// Standard Webhooks (standardwebhooks.com), symmetric: HMAC-SHA256 of <c>id.timestamp.body</c>, in base64 after
/// <c>v1,</c>. A header may hold several signatures, and several keys may be valid, so that each side can rotate the
/// key at its own time.
/// </summary>
/// <param name="keys">The valid keys. The first one signs.</param>
/// <param name="time">Judges the age of a signature.</param>
public sealed class StandardWebhook(IReadOnlyList<byte[]> keys, TimeProvider time)
{
    /// <summary>Shortest key, in bytes.</summary>
    public const int MinKeyBytes = 24;

    /// <summary>Longest key, in bytes.</summary>
    public const int MaxKeyBytes = 64;

    /// <summary>Longest message id, in characters.</summary>
    public const int MaxIdLength = 256;

    /// <summary>Header with the id of the message. All deliveries of a message carry the same id.</summary>
    public const string IdHeader = "webhook-id";

    /// <summary>Header with the time of the delivery, in Unix seconds.</summary>
    public const string TimestampHeader = "webhook-timestamp";

    /// <summary>Header with the signatures, separated by spaces.</summary>
    public const string SignatureHeader = "webhook-signature";

    /// <summary>
    /// How far a timestamp may be off, into the past and into the future. With a longer tolerance a captured message
    /// could be sent again later.
    /// </summary>
    public static readonly TimeSpan Tolerance = TimeSpan.FromMinutes(5);

    private const string SecretPrefix = "whsec_";
    private const string VersionPrefix = "v1,";
    private const int SignatureLength = 44;   // base64 of 32 bytes
    private const int MaxTimestampLength = 12;

    /// <summary>Reads a secret of the form <c>whsec_…</c>. False when it has another form or length.</summary>
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
    /// <param name="id">Id of the message.</param>
    /// <param name="unixSeconds">Time of this delivery, in Unix seconds.</param>
    /// <param name="body">The bytes that go over the wire.</param>
    public string Sign(string id, long unixSeconds, ReadOnlySpan<byte> body) =>
        VersionPrefix + Convert.ToBase64String(HMACSHA256.HashData(keys[0], Signed(id, unixSeconds.ToString(), body)));

    /// <summary>Verifies the signature and the age of a message.</summary>
    /// <param name="id">Value of header <see cref="IdHeader"/>.</param>
    /// <param name="timestamp">Value of header <see cref="TimestampHeader"/>.</param>
    /// <param name="signatures">Value of header <see cref="SignatureHeader"/>.</param>
    /// <param name="body">The bytes that came over the wire.</param>
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

    // Visible ASCII without a dot, which separates the signed parts. Otherwise a dot could move from the id to the body
    // without changing the signed text.
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

    // Signatures of other versions are skipped. A sender may add them for other receivers.
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

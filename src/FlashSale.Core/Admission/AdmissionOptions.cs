using System.ComponentModel.DataAnnotations;
using System.Security.Cryptography;
using System.Text;
using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>
/// Settings of tickets and proof-of-work challenges. Source: configuration section <c>Admission</c>, read once at
/// start.
/// </summary>
public sealed class AdmissionOptions
{
    /// <summary>Shortest key, in bytes: the length of the hash.</summary>
    public const int MinKeyBytes = 32;

    /// <summary>
    /// The key that tickets and challenges are signed with: the UTF-8 bytes of this text. It must be the same on all
    /// nodes.
    /// </summary>
    [Required, Secret]
    public string TicketKey { get; set; } = "";

    /// <summary>Lifetime of a ticket, in seconds.</summary>
    [Range(1, 3_600)]
    public int TicketSeconds { get; set; } = 120;

    /// <summary>Whether a request for admission needs a solved challenge: <c>off</c> or <c>on</c>.</summary>
    [Required, RegularExpression("off|on", ErrorMessage = "allowed is off or on.")]
    public string Challenge { get; set; } = "off";

    /// <summary>Highest number that a challenge may hide. On average a client computes half as many hashes.</summary>
    [Range(1_000, 10_000_000)]
    public int ChallengeMaxNumber { get; set; } = 100_000;

    /// <summary>Lifetime of a challenge, in seconds.</summary>
    [Range(1, 3_600)]
    public int ChallengeSeconds { get; set; } = 120;

    /// <summary>
    /// Derives the key of one purpose. A signature made for one purpose is then invalid for every other.
    /// </summary>
    /// <exception cref="InvalidSettingException">The configured key is too short.</exception>
    internal SigningKey KeyFor(string purpose)
    {
        var configured = Encoding.UTF8.GetBytes(TicketKey);
        if (configured.Length < MinKeyBytes) throw new InvalidSettingException($"Admission:TicketKey = (hidden): must have {MinKeyBytes} bytes or more.");
        return new SigningKey(HKDF.DeriveKey(HashAlgorithmName.SHA256, configured, SigningKey.Size, info: Encoding.ASCII.GetBytes(purpose)));
    }
}

/// <summary>
/// Tells whether a request for admission needs a solved challenge now: because of the setting, or because of the
/// degradation level.
/// </summary>
public sealed class ChallengeSwitch(AdmissionOptions options, Degradation degradation)
{
    private readonly bool _always = options.Challenge == "on";

    /// <summary>Whether challenges are on.</summary>
    public bool IsOn => _always || degradation.IsOff(Features.TicketsWithoutChallenge);
}

/// <summary>HMAC-SHA256 with one key. Safe for use by many threads.</summary>
internal sealed class SigningKey(byte[] key)
{
    /// <summary>Bytes of a key, and of a signature.</summary>
    public const int Size = HMACSHA256.HashSizeInBytes;

    private readonly KeyPool<IncrementalHash> _pool = new(() => IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, key));

    public void Sign(ReadOnlySpan<byte> message, Span<byte> signature)
    {
        var hash = _pool.Rent();
        hash.AppendData(message);
        hash.GetHashAndReset(signature);
        _pool.Return(hash);
    }

    public bool IsSignature(ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature)
    {
        Span<byte> expected = stackalloc byte[Size];
        Sign(message, expected);
        return CryptographicOperations.FixedTimeEquals(expected, signature);
    }
}

using System.ComponentModel.DataAnnotations;

namespace FlashSale.Admission;

/// <summary>
/// The tokens that shoppers may use. Source: configuration section <c>Jwt</c>, read once at start. Key files are
/// followed while the host runs (<see cref="JwtKeyFollower"/>).
/// </summary>
public sealed class JwtOptions
{
    /// <summary>Name of the configuration section.</summary>
    public const string Section = "Jwt";

    /// <summary>Default of <see cref="ClockSkewSeconds"/>, in seconds.</summary>
    public const int DefaultClockSkewSeconds = 30;

    /// <summary>The only accepted <c>iss</c>, compared byte by byte.</summary>
    [Required]
    public string Issuer { get; set; } = "";

    /// <summary>
    /// The value that <c>aud</c> must be, or must contain when it is an array. Compared byte by byte.
    /// </summary>
    [Required]
    public string Audience { get; set; } = "";

    /// <summary>Tolerance for the issuer's clock in <c>exp</c> and <c>nbf</c>, in seconds.</summary>
    [Range(0, 300)]
    public int ClockSkewSeconds { get; set; } = DefaultClockSkewSeconds;

    /// <summary>
    /// The claim that names the user: a string, see <see cref="Contracts.UserId"/>. A shop that knows its customers by
    /// another id than <c>sub</c> sets another claim.
    /// </summary>
    public string UserClaim { get; set; } = "sub";

    /// <summary>The keys that tokens may be signed with, at least one. A rotation needs two.</summary>
    public IList<JwtKeyOptions> Keys { get; } = [];
}

/// <summary>
/// One source of keys. Exactly one of <see cref="Secret"/>, <see cref="PemFile"/> and <see cref="JwksFile"/> is set.
/// The kind of key fixes the algorithm (HS256, RS256 or ES256). A token cannot choose it.
/// </summary>
public sealed class JwtKeyOptions
{
    /// <summary>Shortest secret, in bytes. RFC 7518 section 3.2 demands the length of the hash.</summary>
    public const int MinSecretBytes = 32;

    /// <summary>Shortest RSA modulus, in bits (RFC 7518 section 3.3).</summary>
    public const int MinRsaBits = 2048;

    /// <summary>
    /// The <c>kid</c> that selects this key, 1-128 visible ASCII characters. Required with <see cref="Secret"/> and
    /// <see cref="PemFile"/>. Absent with <see cref="JwksFile"/>, since every key of a set brings its own.
    /// </summary>
    public string? Kid { get; set; }

    /// <summary>The key of HS256: the UTF-8 bytes of this text, at least <see cref="MinSecretBytes"/>.</summary>
    public string? Secret { get; set; }

    /// <summary>Path of a PEM file with one public key for RS256 (RSA) or ES256 (EC on P-256).</summary>
    public string? PemFile { get; set; }

    /// <summary>
    /// Path of a JSON Web Key Set (RFC 7517) with signature keys of type <c>oct</c>, <c>RSA</c> or <c>EC</c> (P-256).
    /// </summary>
    public string? JwksFile { get; set; }
}

using System.ComponentModel.DataAnnotations;

namespace FlashSale.Admission;

/// <summary>Whose tokens shoppers may come with. Source: configuration section <c>Jwt</c>; read once, at start; key files are followed while the host runs (<see cref="JwtKeyFollower"/>).</summary>
public sealed class JwtOptions
{
    /// <summary>Name of the configuration section.</summary>
    public const string Section = "Jwt";

    /// <summary>Tolerance that is used when none is configured, in seconds.</summary>
    public const int DefaultClockSkewSeconds = 30;

    /// <summary>The only <c>iss</c> that is accepted, compared byte by byte.</summary>
    [Required]
    public string Issuer { get; set; } = "";

    /// <summary>What <c>aud</c> must be, or must contain when it is an array; compared byte by byte.</summary>
    [Required]
    public string Audience { get; set; } = "";

    /// <summary>How far the issuer's clock may be off, in seconds, for <c>exp</c> and <c>nbf</c>.</summary>
    [Range(0, 300)]
    public int ClockSkewSeconds { get; set; } = DefaultClockSkewSeconds;

    /// <summary>The claim that names the user: a string, see <see cref="Contracts.UserId"/>. Another than <c>sub</c> where the shop knows its customers by another id.</summary>
    public string UserClaim { get; set; } = "sub";

    /// <summary>The keys that tokens may be signed with; at least one. Two keys serve a rotation.</summary>
    public IList<JwtKeyOptions> Keys { get; } = [];
}

/// <summary>
/// One source of keys: exactly one of <see cref="Secret"/>, <see cref="PemFile"/> and <see cref="JwksFile"/> is set.
/// The kind of key fixes the algorithm (HS256, RS256 or ES256); a token has no say in it.
/// </summary>
public sealed class JwtKeyOptions
{
    /// <summary>Shortest secret, in bytes: RFC 7518 3.2 asks for as many as the hash has.</summary>
    public const int MinSecretBytes = 32;

    /// <summary>Shortest RSA modulus, in bits: RFC 7518 3.3.</summary>
    public const int MinRsaBits = 2048;

    /// <summary>
    /// The <c>kid</c> that selects this key, 1-128 visible ASCII characters. Required with <see cref="Secret"/> and
    /// <see cref="PemFile"/>; absent with <see cref="JwksFile"/>, where every key brings its own.
    /// </summary>
    public string? Kid { get; set; }

    /// <summary>HS256: the key is the UTF-8 bytes of this text, at least <see cref="MinSecretBytes"/>.</summary>
    public string? Secret { get; set; }

    /// <summary>RS256 or ES256: path of a PEM file with one public key (RSA, or EC on P-256).</summary>
    public string? PemFile { get; set; }

    /// <summary>Path of a JSON Web Key Set (RFC 7517) with signature keys of type <c>oct</c>, <c>RSA</c> or <c>EC</c> (P-256).</summary>
    public string? JwksFile { get; set; }
}

using System.Text;
using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>
/// Turns <see cref="JwtOptions"/> into keys. It collects all faults, each with its setting, its value and the allowed
/// values. It never shows a secret.
/// </summary>
internal static class JwtKeyLoader
{
    private const int MaxClaimName = 128;

    // The verifier uses these claims for other purposes.
    private static readonly string[] OtherClaims = ["iss", "aud", "exp", "nbf", "iat", "jti", "client_id"];

    /// <summary>
    /// The keys of each source. Throws <see cref="InvalidSettingException"/> with the faults of the whole section, one
    /// a line.
    /// </summary>
    public static JwtKey[][] Load(JwtOptions options)
    {
        List<string> errors = [.. CheckClaims(options)];
        if (options.Keys.Count == 0) errors.Add("Jwt:Keys = (none): allowed is at least one key with Secret, PemFile or JwksFile.");
        var keys = new JwtKey[options.Keys.Count][];
        for (var i = 0; i < keys.Length; i++)
        {
            var read = Read(options.Keys[i], i, keys.Take(i).SelectMany(earlier => earlier));
            errors.AddRange(read.Errors);
            keys[i] = [.. read.Keys];
        }

        return errors.Count == 0 ? keys : throw new InvalidSettingException(string.Join('\n', errors));
    }

    /// <summary>Reads one source.</summary>
    /// <param name="source">The source.</param>
    /// <param name="index">The position of the source in <see cref="JwtOptions.Keys"/>.</param>
    /// <param name="others">Keys of other sources. Their names must not be repeated.</param>
    /// <param name="text">The text of the source's file. Null makes the method read the file.</param>
    public static JwtKeyReader Read(JwtKeyOptions source, int index, IEnumerable<JwtKey> others, string? text = null)
    {
        var setting = $"Jwt:Keys:{index}";
        var reader = new JwtKeyReader($"{setting}:Kid", others);
        var sources = (source.Secret is null ? 0 : 1) + (source.PemFile is null ? 0 : 1) + (source.JwksFile is null ? 0 : 1);
        if (sources != 1)
        {
            reader.Errors.Add($"{setting} has {sources} of Secret, PemFile and JwksFile: allowed is exactly one.");
        }
        else if (source.JwksFile is { } jwks)
        {
            if (source.Kid is not null) reader.Errors.Add($"{setting}:Kid = '{source.Kid}': allowed is none beside JwksFile, whose keys bring their own.");
            reader.ReadFile(jwks, text, $"{setting}:JwksFile", reader.AddJwks);
        }
        else if (source.PemFile is { } pem)
        {
            reader.ReadFile(pem, text, $"{setting}:PemFile", (content, file) => reader.AddPem(source.Kid, content, file));
        }
        else
        {
            reader.AddSecret(source.Kid, Encoding.UTF8.GetBytes(source.Secret!), $"{setting}:Secret");
        }

        return reader;
    }

    private static IEnumerable<string> CheckClaims(JwtOptions options)
    {
        if (string.IsNullOrWhiteSpace(options.Issuer)) yield return $"Jwt:Issuer = '{options.Issuer}': allowed is a text that is not empty.";
        if (string.IsNullOrWhiteSpace(options.Audience)) yield return $"Jwt:Audience = '{options.Audience}': allowed is a text that is not empty.";
        if (options.ClockSkewSeconds is < 0 or > 300) yield return $"Jwt:ClockSkewSeconds = '{options.ClockSkewSeconds}': allowed is 0 to 300.";
        if (options.UserClaim.Length is 0 or > MaxClaimName || OtherClaims.Contains(options.UserClaim))
        {
            yield return $"Jwt:UserClaim = '{options.UserClaim}': allowed is the name of a claim, 1 to {MaxClaimName} characters, other than {string.Join(", ", OtherClaims)}.";
        }
    }
}

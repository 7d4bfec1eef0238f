using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>Turns <see cref="JwtOptions"/> into keys; collects every fault at once, each with setting, value and what is allowed. A secret is never told.</summary>
internal sealed class JwtKeyLoader
{
    private const int MaxKidLength = 128;
    private const string P256 = "1.2.840.10045.3.1.7";
    private readonly List<string> errors = [];
    private readonly List<JwtKey> keys = [];

    /// <summary>The keys. Throws <see cref="InvalidSettingException"/> with the faults of the whole section, one a line.</summary>
    public static JwtKey[] Load(JwtOptions options)
    {
        var loader = new JwtKeyLoader();
        loader.CheckClaims(options);
        if (options.Keys.Count == 0)
        {
            loader.errors.Add("Jwt:Keys = (none): allowed is at least one key with Secret, PemFile or JwksFile.");
        }

        for (var i = 0; i < options.Keys.Count; i++)
        {
            loader.AddSource(options.Keys[i], $"Jwt:Keys:{i}");
        }

        return loader.errors.Count == 0 ? [.. loader.keys] : throw new InvalidSettingException(string.Join('\n', loader.errors));
    }

    private void CheckClaims(JwtOptions options)
    {
        RequireText(options.Issuer, "Jwt:Issuer");
        RequireText(options.Audience, "Jwt:Audience");
        if (options.ClockSkewSeconds is < 0 or > 300)
        {
            errors.Add($"Jwt:ClockSkewSeconds = '{options.ClockSkewSeconds}': allowed is 0 to 300.");
        }
    }

    private void RequireText(string value, string setting)
    {
        if (string.IsNullOrWhiteSpace(value))
        {
            errors.Add($"{setting} = '{value}': allowed is a text that is not empty.");
        }
    }

    private void AddSource(JwtKeyOptions source, string setting)
    {
        var sources = (source.Secret is null ? 0 : 1) + (source.PemFile is null ? 0 : 1) + (source.JwksFile is null ? 0 : 1);
        if (sources != 1)
        {
            errors.Add($"{setting} has {sources} of Secret, PemFile and JwksFile: allowed is exactly one.");
        }
        else if (source.JwksFile is { } jwks)
        {
            if (source.Kid is not null)
            {
                errors.Add($"{setting}:Kid = '{source.Kid}': allowed is none beside JwksFile, whose keys bring their own.");
            }

            ReadFile(jwks, $"{setting}:JwksFile", text => AddJwks(text, $"{setting}:JwksFile '{jwks}'"));
        }
        else if (source.PemFile is { } pem)
        {
            ReadFile(pem, $"{setting}:PemFile", text => AddPem(source.Kid, text, $"{setting}:PemFile '{pem}'", $"{setting}:Kid"));
        }
        else
        {
            AddSecret(source.Kid, Encoding.UTF8.GetBytes(source.Secret!), $"{setting}:Secret", $"{setting}:Kid");
        }
    }

    private void ReadFile(string path, string setting, Action<string> use)
    {
        try
        {
            use(File.ReadAllText(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or CryptographicException or JsonException or FormatException)
        {
            errors.Add($"{setting} = '{path}': allowed is a readable key file ({e.GetType().Name}: {e.Message})");
        }
    }

    private void AddSecret(string? kid, byte[] secret, string setting, string kidSetting)
    {
        if (secret.Length < JwtKeyOptions.MinSecretBytes)
        {
            errors.Add($"{setting} = (hidden, {secret.Length} bytes): allowed is at least {JwtKeyOptions.MinSecretBytes}.");
        }
        else
        {
            Add(kid, kidSetting, name => new HmacJwtKey(name, secret));
        }
    }

    private void AddPem(string? kid, string pem, string setting, string kidSetting)
    {
        // A private key has no business on a host that only verifies; the labels say so before anything is parsed.
        if (!PemEncoding.TryFind(pem, out var fields) || pem[fields.Label] is not ("PUBLIC KEY" or "RSA PUBLIC KEY"))
        {
            errors.Add($"{setting} does not begin with a public key: allowed is PUBLIC KEY or RSA PUBLIC KEY.");
            return;
        }

        if (TryImport(RSA.Create(), pem, out var rsa))
        {
            AddRsa(kid, rsa.ExportParameters(includePrivateParameters: false), setting, kidSetting);
        }
        else if (TryImport(ECDsa.Create(), pem, out var ec))
        {
            AddEc(kid, ec.ExportParameters(includePrivateParameters: false), setting, kidSetting);
        }
        else
        {
            errors.Add($"{setting} holds neither an RSA nor an EC public key: allowed is RSA, or EC on P-256.");
        }
    }

    private static bool TryImport<T>(T algorithm, string pem, out T imported) where T : AsymmetricAlgorithm
    {
        imported = algorithm;
        try
        {
            algorithm.ImportFromPem(pem);
            return true;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            return false;
        }
    }

    private void AddJwks(string json, string setting)
    {
        using var document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false });
        if (document.RootElement.ValueKind != JsonValueKind.Object
            || !document.RootElement.TryGetProperty("keys", out var set) || set.ValueKind != JsonValueKind.Array)
        {
            errors.Add($"{setting} has no array 'keys': allowed is a JSON Web Key Set.");
            return;
        }

        var before = keys.Count + errors.Count;
        foreach (var jwk in set.EnumerateArray())
        {
            if (jwk.ValueKind == JsonValueKind.Object)
            {
                AddJwk(jwk, setting);
            }
        }

        if (keys.Count + errors.Count == before)
        {
            errors.Add($"{setting} holds no signature key: allowed is at least one of type oct, RSA, or EC on P-256.");
        }
    }

    /// <summary>Keys for encryption and of other kinds are passed over, as RFC 7517 5 asks; a faulty one of a known kind is a fault.</summary>
    private void AddJwk(JsonElement jwk, string setting)
    {
        var (kid, alg) = (Text(jwk, "kid"), Text(jwk, "alg"));
        if ((Text(jwk, "use") ?? "sig") != "sig")
        {
            return;
        }

        switch (Text(jwk, "kty"))
        {
            case "oct" when alg is null or "HS256":
                AddSecret(kid, Bytes(jwk, "k"), $"{setting} key '{kid}'", $"{setting} kid");
                break;
            case "RSA" when alg is null or "RS256":
                AddRsa(kid, new RSAParameters { Modulus = Bytes(jwk, "n"), Exponent = Bytes(jwk, "e") }, $"{setting} key '{kid}'", $"{setting} kid");
                break;
            case "EC" when alg is null or "ES256" && Text(jwk, "crv") == "P-256":
                var point = new ECPoint { X = Bytes(jwk, "x"), Y = Bytes(jwk, "y") };
                AddEc(kid, new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = point }, $"{setting} key '{kid}'", $"{setting} kid");
                break;
            default:
                break;
        }
    }

    private static string? Text(JsonElement jwk, string name) =>
        jwk.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static byte[] Bytes(JsonElement jwk, string name) => Base64Url.DecodeFromChars(Text(jwk, name) ?? "");

    private void AddRsa(string? kid, RSAParameters key, string setting, string kidSetting)
    {
        using var rsa = RSA.Create(key);
        if (rsa.KeySize < JwtKeyOptions.MinRsaBits)
        {
            errors.Add($"{setting} has {rsa.KeySize} bits: allowed is at least {JwtKeyOptions.MinRsaBits}.");
        }
        else
        {
            Add(kid, kidSetting, name => new RsaJwtKey(name, rsa.ExportParameters(includePrivateParameters: false)));
        }
    }

    private void AddEc(string? kid, ECParameters key, string setting, string kidSetting)
    {
        using var ec = ECDsa.Create(key);
        var exported = ec.ExportParameters(includePrivateParameters: false);
        if (exported.Curve.Oid.Value != P256)
        {
            errors.Add($"{setting} is on curve {exported.Curve.Oid.FriendlyName}: allowed is P-256.");
        }
        else
        {
            Add(kid, kidSetting, name => new EcJwtKey(name, exported));
        }
    }

    private void Add(string? kid, string setting, Func<string, JwtKey> create)
    {
        if (kid is null || kid.Length is 0 or > MaxKidLength || kid.AsSpan().ContainsAnyExceptInRange('!', '~'))
        {
            errors.Add($"{setting} = '{kid}': allowed is 1 to {MaxKidLength} visible ASCII characters.");
        }
        else if (keys.Exists(key => key.Kid == kid))
        {
            // Two keys of one name would let an attacker choose which of them judges.
            errors.Add($"{setting} = '{kid}': allowed is a name that no other key has.");
        }
        else
        {
            keys.Add(create(kid));
        }
    }
}

using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.IdentityModel.Tokens;

namespace FlashSale.Admission;

/// <summary>Reads the keys of one source, and collects their faults in <see cref="Errors"/>.</summary>
/// <param name="kidSetting">The setting that names a key, for keys that do not bring their own name.</param>
/// <param name="others">Keys of other sources. Their names are taken.</param>
internal sealed class JwtKeyReader(string kidSetting, IEnumerable<JwtKey> others)
{
    private const int MaxKidLength = 128;
    private const string P256 = "1.2.840.10045.3.1.7";

    private readonly HashSet<string> _taken = [.. others.Select(key => key.Kid)];

    public List<string> Errors { get; } = [];

    public List<JwtKey> Keys { get; } = [];

    /// <summary>Reads the keys of a file, or of its text if the caller has it already.</summary>
    /// <param name="path">The path of the file.</param>
    /// <param name="text">The text of the file. Null makes the method read the file.</param>
    /// <param name="setting">The setting that names the file.</param>
    /// <param name="use">Takes the text, and the name that errors use for it.</param>
    public void ReadFile(string path, string? text, string setting, Action<string, string> use)
    {
        try
        {
            use(text ?? File.ReadAllText(path), $"{setting} '{path}'");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or CryptographicException or JsonException or FormatException)
        {
            Errors.Add($"{setting} = '{path}': allowed is a readable key file ({e.GetType().Name}: {e.Message})");
        }
    }

    public void AddSecret(string? kid, byte[] secret, string setting)
    {
        if (secret.Length < JwtKeyOptions.MinSecretBytes)
        {
            Errors.Add($"{setting} = (hidden, {secret.Length} bytes): allowed is at least {JwtKeyOptions.MinSecretBytes}.");
        }
        else
        {
            Add(kid, kidSetting, name => new HmacJwtKey(name, secret));
        }
    }

    public void AddPem(string? kid, string pem, string setting)
    {
        // A host that only verifies must not hold a private key. The PEM labels show one before anything is parsed.
        if (!PemEncoding.TryFind(pem, out var fields) || pem[fields.Label] is not ("PUBLIC KEY" or "RSA PUBLIC KEY"))
        {
            Errors.Add($"{setting} does not begin with a public key: allowed is PUBLIC KEY or RSA PUBLIC KEY.");
            return;
        }

        using var rsa = RSA.Create();
        using var ec = ECDsa.Create();
        if (TryImport(rsa, pem)) AddRsa(kid, rsa, setting, kidSetting);
        else if (TryImport(ec, pem)) AddEc(kid, ec, setting, kidSetting);
        else Errors.Add($"{setting} holds neither an RSA nor an EC public key: allowed is RSA, or EC on P-256.");
    }

    public void AddJwks(string json, string setting)
    {
        // If a name occurs twice, Microsoft's parser keeps the last member. Another reader may keep the first one, and
        // so use another key.
        using var document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false });
        if (document.RootElement.ValueKind != JsonValueKind.Object
            || !document.RootElement.TryGetProperty("keys", out var set) || set.ValueKind != JsonValueKind.Array)
        {
            Errors.Add($"{setting} has no array 'keys': allowed is a JSON Web Key Set.");
            return;
        }

        var before = Keys.Count + Errors.Count;
        foreach (var jwk in set.EnumerateArray())
        {
            if (jwk.ValueKind == JsonValueKind.Object) AddJwk(new JsonWebKey(jwk.GetRawText()), setting);
        }

        if (Keys.Count + Errors.Count == before)
        {
            Errors.Add($"{setting} holds no signature key: allowed is at least one of type oct, RSA, or EC on P-256.");
        }
    }

    private static bool TryImport(AsymmetricAlgorithm algorithm, string pem)
    {
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

    /// <summary>
    /// Adds one key of a set. Encryption keys and unknown kinds are skipped, as RFC 7517 section 5 asks. A faulty key
    /// of a known kind is an error.
    /// </summary>
    private void AddJwk(JsonWebKey jwk, string setting)
    {
        var (key, name) = ($"{setting} key '{jwk.Kid}'", $"{setting} kid");
        if ((jwk.Use ?? "sig") != "sig") return;
        if (jwk.HasPrivateKey)
        {
            Errors.Add($"{key} is a private key: allowed is a public key, since this host only verifies.");
            return;
        }
        switch (jwk.Kty)
        {
            case "oct" when jwk.Alg is null or "HS256":
                var secret = Base64UrlEncoder.DecodeBytes(jwk.K ?? "");
                if (secret.Length < JwtKeyOptions.MinSecretBytes) Errors.Add($"{key} = (hidden, {secret.Length} bytes): allowed is at least {JwtKeyOptions.MinSecretBytes}.");
                else Add(jwk.Kid, name, named => new HmacJwtKey(named, secret));
                break;
            case "RSA" when jwk.Alg is null or "RS256":
                var numbers = new RSAParameters { Modulus = Base64UrlEncoder.DecodeBytes(jwk.N ?? ""), Exponent = Base64UrlEncoder.DecodeBytes(jwk.E ?? "") };
                using (var rsa = RSA.Create(numbers)) AddRsa(jwk.Kid, rsa, key, name);
                break;
            case "EC" when jwk.Alg is null or "ES256" && jwk.Crv == "P-256":
                var point = new ECPoint { X = Base64UrlEncoder.DecodeBytes(jwk.X ?? ""), Y = Base64UrlEncoder.DecodeBytes(jwk.Y ?? "") };
                using (var ec = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = point })) AddEc(jwk.Kid, ec, key, name);
                break;
            default:
                break;
        }
    }

    private void AddRsa(string? kid, RSA rsa, string setting, string nameSetting)
    {
        if (rsa.KeySize < JwtKeyOptions.MinRsaBits)
        {
            Errors.Add($"{setting} has {rsa.KeySize} bits: allowed is at least {JwtKeyOptions.MinRsaBits}.");
        }
        else
        {
            var key = rsa.ExportParameters(includePrivateParameters: false);
            Add(kid, nameSetting, name => new RsaJwtKey(name, key));
        }
    }

    private void AddEc(string? kid, ECDsa ec, string setting, string nameSetting)
    {
        var key = ec.ExportParameters(includePrivateParameters: false);
        if (key.Curve.Oid.Value != P256)
        {
            Errors.Add($"{setting} is on curve {key.Curve.Oid.FriendlyName}: allowed is P-256.");
        }
        else
        {
            Add(kid, nameSetting, name => new EcJwtKey(name, key));
        }
    }

    private void Add(string? kid, string setting, Func<string, JwtKey> create)
    {
        if (kid is null || kid.Length is 0 or > MaxKidLength || kid.AsSpan().ContainsAnyExceptInRange('!', '~'))
        {
            Errors.Add($"{setting} = '{kid}': allowed is 1 to {MaxKidLength} visible ASCII characters.");
        }
        else if (!_taken.Add(kid))
        {
            // If two keys had one name, an attacker could choose which of them verifies.
            Errors.Add($"{setting} = '{kid}': allowed is a name that no other key has.");
        }
        else
        {
            Keys.Add(create(kid));
        }
    }
}

using System.Security.Cryptography;
using FlashSale.Admission;
using FlashSale.Platform;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace FlashSale.UnitTests.Admission;

public sealed class JwtOptionsTests
{
    [Fact]
    public void The_section_of_the_configuration_makes_a_verifier()
    {
        var verifier = Services(
            ("Jwt:Issuer", "https://id.example"), ("Jwt:Audience", "flashsale"), ("Jwt:ClockSkewSeconds", "0"),
            ("Jwt:Keys:0:Kid", "main"), ("Jwt:Keys:0:Secret", JwtForge.Secret)).GetRequiredService<JwtVerifier>();
        Assert.Equal(JwtResult.Ok, verifier.Judge(JwtForge.Token("""{"iss":"https://id.example","aud":"flashsale","sub":"u","exp":9999999999}""")));
        Assert.Equal(JwtResult.Expired, verifier.Judge(JwtForge.Token("""{"iss":"https://id.example","aud":"flashsale","sub":"u","exp":1300819380}""")));
    }

    [Fact]
    public void All_wrong_settings_are_told_at_once_with_value_and_range()
    {
        var error = Assert.Throws<InvalidSettingException>(() => Services(
            ("Jwt:ClockSkewSeconds", "301"), ("Jwt:UserClaim", "exp"), ("Jwt:Keys:0:Kid", "main"), ("Jwt:Keys:0:Secret", "too short a secret")).GetRequiredService<JwtVerifier>());
        Assert.Equal(
            [
                "Jwt:Issuer = '': allowed is a text that is not empty.",
                "Jwt:Audience = '': allowed is a text that is not empty.",
                "Jwt:ClockSkewSeconds = '301': allowed is 0 to 300.",
                "Jwt:UserClaim = 'exp': allowed is the name of a claim, 1 to 128 characters, other than iss, aud, exp, nbf, iat, jti, client_id.",
                "Jwt:Keys:0:Secret = (hidden, 18 bytes): allowed is at least 32.",
            ],
            error.Message.Split('\n'));
    }

    [Fact]
    public void A_key_has_one_source_and_a_name_of_its_own()
    {
        Fails("Jwt:Keys = (none): allowed is at least one key with Secret, PemFile or JwksFile.");
        Fails("Jwt:Keys:0 has 0 of Secret, PemFile and JwksFile: allowed is exactly one.", new JwtKeyOptions { Kid = "a" });
        Fails("Jwt:Keys:0 has 2 of Secret, PemFile and JwksFile: allowed is exactly one.", new JwtKeyOptions { Kid = "a", Secret = JwtForge.Secret, PemFile = "x" });
        Fails("Jwt:Keys:0:Kid = '': allowed is 1 to 128 visible ASCII characters.", new JwtKeyOptions { Secret = JwtForge.Secret });
        Fails("Jwt:Keys:0:Kid = 'a b': allowed is 1 to 128 visible ASCII characters.", new JwtKeyOptions { Kid = "a b", Secret = JwtForge.Secret });
        Fails("Jwt:Keys:1:Kid = 'a': allowed is a name that no other key has.", new() { Kid = "a", Secret = JwtForge.Secret }, new() { Kid = "a", Secret = JwtForge.Secret + "2" });
    }

    [Fact]
    public void A_key_file_that_cannot_be_used_is_told_with_its_path()
    {
        Assert.StartsWith("Jwt:Keys:0:PemFile = '/no/such.pem': allowed is a readable key file", Failure(new JwtKeyOptions { Kid = "a", PemFile = "/no/such.pem" }));
        Assert.StartsWith("Jwt:Keys:0:JwksFile = '/no/such.json': allowed is a readable key file", Failure(new JwtKeyOptions { JwksFile = "/no/such.json" }));
        using var rsa = RSA.Create(1024);
        using var p384 = ECDsa.Create(ECCurve.NamedCurves.nistP384);
        Assert.EndsWith("has 1024 bits: allowed is at least 2048.", FileFailure(rsa.ExportSubjectPublicKeyInfoPem(), jwks: false));
        Assert.EndsWith("allowed is P-256.", FileFailure(p384.ExportSubjectPublicKeyInfoPem(), jwks: false));
        Assert.EndsWith("allowed is PUBLIC KEY or RSA PUBLIC KEY.", FileFailure(rsa.ExportPkcs8PrivateKeyPem(), jwks: false));
        Assert.EndsWith("has no array 'keys': allowed is a JSON Web Key Set.", FileFailure("[]", jwks: true));
        Assert.EndsWith("holds no signature key: allowed is at least one of type oct, RSA, or EC on P-256.", FileFailure("""{"keys":[]}""", jwks: true));
        Assert.EndsWith("(hidden, 3 bytes): allowed is at least 32.", FileFailure("""{"keys":[{"kid":"a","kty":"oct","k":"AQAB"}]}""", jwks: true));
        Assert.Contains("allowed is a readable key file", FileFailure("""{"keys":[{"kid":"a","kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}""", jwks: true));
        Assert.Contains("holds no signature key", FileFailure("""{"keys":[7]}""", jwks: true));
        Assert.Contains("is a private key: allowed is a public key", FileFailure("""{"keys":[{"kid":"a","kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}]}""", jwks: true));
    }

    private static string FileFailure(string text, bool jwks)
    {
        var path = JwtForge.TempFile(text);
        var failure = Failure(jwks ? new JwtKeyOptions { JwksFile = path } : new JwtKeyOptions { Kid = "a", PemFile = path });
        File.Delete(path);
        return failure;
    }

    private static void Fails(string message, params JwtKeyOptions[] keys) => Assert.Equal(message, Failure(keys));

    private static string Failure(params JwtKeyOptions[] keys) =>
        Assert.Throws<InvalidSettingException>(() => new JwtVerifier(JwtForge.Options(keys), TimeProvider.System)).Message;

    private static ServiceProvider Services(params (string Key, string Value)[] settings)
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection(settings.ToDictionary(s => s.Key, s => (string?)s.Value)).Build();
        return new ServiceCollection().AddSingleton<IConfiguration>(configuration).AddJwtVerifier().BuildServiceProvider();
    }
}

using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using FlashSale.Admission;

namespace FlashSale.UnitTests.Admission;

public sealed class JwtForgeryTests : IDisposable
{
    private readonly RSA rsa = RSA.Create(2048);
    private readonly string pemFile;
    private readonly JwtVerifier rsaVerifier;
    private static readonly JwtVerifier Verifier = JwtForge.Verifier();

    public JwtForgeryTests()
    {
        pemFile = JwtForge.TempFile(rsa.ExportSubjectPublicKeyInfoPem());
        rsaVerifier = JwtForge.Verifier(new JwtKeyOptions { Kid = JwtForge.Kid, PemFile = pemFile });
    }

    public void Dispose()
    {
        File.Delete(pemFile);
        rsa.Dispose();
    }

    [Theory]
    [InlineData("none")]
    [InlineData("None")]
    [InlineData("NONE")]
    [InlineData("nOnE")]
    [InlineData("")]
    [InlineData("hs256")]
    [InlineData("HS384")]
    [InlineData("HS512")]
    [InlineData("PS256")]
    [InlineData("\\u006eone")]
    public void An_algorithm_that_is_not_on_the_list_fits_no_key(string alg)
    {
        var header = "{\"alg\":\"" + alg + "\",\"kid\":\"main\"}";
        Assert.Equal(JwtResult.UnknownKey, Verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, header)));
        Assert.Equal(JwtResult.UnknownKey, Verifier.Judge(JwtForge.Encode(header) + "." + JwtForge.Encode(JwtForge.GoodPayload) + "."));
    }

    [Theory]
    [InlineData("{\"kid\":\"main\"}")]
    [InlineData("{\"alg\":null,\"kid\":\"main\"}")]
    [InlineData("{\"alg\":[\"HS256\"],\"kid\":\"main\"}")]
    [InlineData("{\"alg\":\"none\",\"alg\":\"HS256\",\"kid\":\"main\"}")]
    [InlineData("{\"alg\":\"HS256\",\"kid\":\"other\",\"kid\":\"main\"}")]
    [InlineData("{\"alg\":\"HS256\",\"kid\":7}")]
    [InlineData("{\"alg\":\"HS256\",\"kid\":\"main\",\"crit\":[\"b64\"],\"b64\":false}")]
    [InlineData("{\"alg\":\"HS256\",\"kid\":\"main\",\"crit\":[]}")]
    [InlineData("{\"alg\":\"HS256\",\"kid\":\"main\"}x")]
    [InlineData("{\"alg\":\"HS256\",\"kid\":\"main\"")]
    [InlineData("\"HS256\"")]
    public void A_header_that_is_ambiguous_or_asks_for_more_is_malformed(string header) =>
        Assert.Equal(JwtResult.Malformed, Verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, header)));

    [Fact]
    public void A_header_that_is_usual_for_one_key_makes_no_other_signature_good()
    {
        const string Ours = """{"alg":"HS256","kid":"main"}""", Theirs = """{"alg":"HS256","kid":"other"}""", Other = "another secret of more than thirty-two bytes";
        var verifier = JwtForge.Verifier(new JwtKeyOptions { Kid = "main", Secret = JwtForge.Secret }, new JwtKeyOptions { Kid = "other", Secret = Other });
        for (var round = 0; round < 3; round++)
        {
            // A forged token in between must not count as a token of the key.
            Assert.Equal(JwtResult.BadSignature, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, Ours, Other)));
            Assert.Equal(JwtResult.BadSignature, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, Theirs, JwtForge.Secret)));
            Assert.Equal(JwtResult.Ok, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, Ours)));
            Assert.Equal(JwtResult.Ok, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, Theirs, Other)));
            Assert.Equal(JwtResult.UnknownKey, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, """{"alg":"none","kid":"main"}""")));
            Assert.Equal(JwtResult.UnknownKey, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, """{"alg":"HS256","kid":"third"}""")));
        }
    }

    [Fact]
    public void An_rsa_token_is_good_and_one_signed_by_hmac_with_the_public_key_is_not()
    {
        byte[] Rsa(byte[] input) => rsa.SignData(input, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        Assert.Equal(JwtResult.Ok, rsaVerifier.Judge(JwtForge.Token("""{"alg":"RS256","kid":"main"}""", JwtForge.GoodPayload, Rsa)));
        foreach (var secret in new[] { File.ReadAllText(pemFile), File.ReadAllText(pemFile).Trim(), rsa.ExportRSAPublicKeyPem() })
        {
            Assert.Equal(JwtResult.UnknownKey, rsaVerifier.Judge(JwtForge.Token(JwtForge.GoodPayload, secret: secret)));
            Assert.Equal(JwtResult.UnknownKey, rsaVerifier.Judge(JwtForge.Token(JwtForge.GoodPayload, """{"alg":"HS256"}""", secret)));
        }
    }

    [Fact]
    public void An_rsa_signature_of_another_padding_or_key_is_bad()
    {
        const string Header = """{"alg":"RS256","kid":"main"}""";
        using var other = RSA.Create(2048);
        Assert.Equal(JwtResult.BadSignature, rsaVerifier.Judge(JwtForge.Token(Header, JwtForge.GoodPayload, i => rsa.SignData(i, HashAlgorithmName.SHA256, RSASignaturePadding.Pss))));
        Assert.Equal(JwtResult.BadSignature, rsaVerifier.Judge(JwtForge.Token(Header, JwtForge.GoodPayload, i => rsa.SignData(i, HashAlgorithmName.SHA512, RSASignaturePadding.Pkcs1))));
        Assert.Equal(JwtResult.BadSignature, rsaVerifier.Judge(JwtForge.Token(Header, JwtForge.GoodPayload, i => other.SignData(i, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1))));
        Assert.Equal(JwtResult.BadSignature, rsaVerifier.Judge(JwtForge.Token(Header, JwtForge.GoodPayload, _ => new byte[256])));
    }

    [Fact]
    public void An_ecdsa_signature_of_zeros_or_in_der_is_bad()
    {
        using var ec = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var path = JwtForge.TempFile(ec.ExportSubjectPublicKeyInfoPem());
        var verifier = JwtForge.Verifier(new JwtKeyOptions { Kid = "ec", PemFile = path });
        File.Delete(path);
        const string Header = """{"alg":"ES256","kid":"ec"}""";
        Assert.Equal(JwtResult.Ok, verifier.Judge(JwtForge.Token(Header, JwtForge.GoodPayload, i => ec.SignData(i, HashAlgorithmName.SHA256))));
        Assert.Equal(JwtResult.BadSignature, verifier.Judge(JwtForge.Token(Header, JwtForge.GoodPayload, _ => new byte[64])));
        Assert.Equal(JwtResult.BadSignature, verifier.Judge(JwtForge.Token(Header, JwtForge.GoodPayload, i => ec.SignData(i, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence))));
    }

    [Fact]
    public void A_signature_of_another_secret_or_over_other_parts_is_bad()
    {
        var token = JwtForge.Token(JwtForge.GoodPayload);
        var parts = token.Split('.');
        Assert.Equal(JwtResult.BadSignature, Verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, secret: JwtForge.Secret + "x")));
        Assert.Equal(JwtResult.BadSignature, Verifier.Judge(parts[0] + "." + JwtForge.Encode(JwtForge.GoodPayload.Replace("user-1", "user-2")) + "." + parts[2]));
        Assert.Equal(JwtResult.BadSignature, Verifier.Judge(JwtForge.Encode(JwtForge.GoodHeader + " ") + "." + parts[1] + "." + parts[2]));
        Assert.Equal(JwtResult.BadSignature, Verifier.Judge(parts[0] + "." + parts[1] + "."));
    }

    [Fact]
    public void No_truncated_token_is_good()
    {
        var token = JwtForge.Token(JwtForge.GoodPayload);
        for (var length = 0; length < token.Length; length++)
        {
            Assert.True(Verifier.Judge(token[..length]) is JwtResult.Malformed or JwtResult.BadSignature, token[..length]);
        }
    }

    [Fact]
    public void No_change_of_one_character_is_good()
    {
        var token = JwtForge.Token(JwtForge.GoodPayload).ToCharArray();
        for (var i = 0; i < token.Length; i++)
        {
            var original = token[i];
            foreach (var other in "A_.+/= \n\0é😀")
            {
                token[i] = other;
                Assert.True(other == original || Verifier.Judge(new string(token)) != JwtResult.Ok, new string(token));
            }

            token[i] = original;
        }
    }

    [Fact]
    public void One_token_has_one_spelling()
    {
        var token = JwtForge.Token(JwtForge.GoodPayload);
        foreach (var variant in new[] { " " + token, token + " ", token + "\n", token + "=", token + ".", token.Replace(".", ". "), NonCanonical(token) })
        {
            Assert.Equal(JwtResult.Malformed, Verifier.Judge(variant));
        }

        // The last character of 32 encoded bytes has two idle bits. With these bits set it is another spelling of the
        // same bytes.
        static string NonCanonical(string token)
        {
            const string Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            var variant = token[..^1] + Alphabet[Alphabet.IndexOf(token[^1]) | 1];
            Assert.NotEqual(token, variant);
            return variant;
        }
    }

    [Fact]
    public void A_kid_selects_its_key_and_no_other_is_tried()
    {
        const string Second = "another shared secret of more than 32 bytes";
        var verifier = JwtForge.Verifier(new() { Kid = "main", Secret = JwtForge.Secret }, new() { Kid = "next", Secret = Second });
        Assert.Equal(JwtResult.Ok, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload)));
        Assert.Equal(JwtResult.Ok, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, """{"alg":"HS256","kid":"next"}""", Second)));
        Assert.Equal(JwtResult.BadSignature, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, """{"alg":"HS256","kid":"next"}""")));
        Assert.Equal(JwtResult.UnknownKey, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, """{"alg":"HS256","kid":"MAIN"}""")));
        Assert.Equal(JwtResult.UnknownKey, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload, """{"alg":"HS256"}""")));
    }

    [Fact]
    public void A_token_without_kid_is_good_where_one_key_only_fits_its_algorithm()
    {
        var both = JwtForge.Verifier(new() { Kid = "main", Secret = JwtForge.Secret }, new() { Kid = "rsa", PemFile = pemFile });
        Assert.Equal(JwtResult.Ok, both.Judge(JwtForge.Token(JwtForge.GoodPayload, """{"alg":"HS256"}""")));
        Assert.Equal(JwtResult.UnknownKey, both.Judge(JwtForge.Token(JwtForge.GoodPayload, """{"alg":"ES256"}""")));
    }

    [Fact]
    public void Random_bytes_never_throw()
    {
        var random = new Random(7);
        for (var i = 0; i < 2_000; i++)
        {
            var part = new byte[random.Next(1, 60)];
            random.NextBytes(part);
            var header = "{\"alg\":\"HS256\",\"" + Encoding.Latin1.GetString(part);
            Assert.NotEqual(JwtResult.Ok, Verifier.Judge(Base64Url.EncodeToString(Encoding.Latin1.GetBytes(header)) + ".e30.e30"));
            Assert.NotEqual(JwtResult.Ok, Verifier.Verify("Bearer " + Encoding.Latin1.GetString(part), out _));
        }
    }
}

using FlashSale.Admission;
using Microsoft.Extensions.Time.Testing;

namespace FlashSale.UnitTests.Admission;

/// <summary>
/// The examples of RFC 7515 appendix A and RFC 7519. They carry neither aud nor sub, so a token with a good signature
/// and good dates ends at <see cref="JwtResult.WrongAudience"/>. The verifier judges the claims only behind a good
/// signature.
/// </summary>
public sealed class JwtVectorTests
{
    private const string Payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    private const string Hs256 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + Payload + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    private const string Rs256 = "eyJhbGciOiJSUzI1NiJ9." + Payload + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

    private const string Es256 = "eyJhbGciOiJFUzI1NiJ9." + Payload + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

    private const string Unsecured = "eyJhbGciOiJub25lIn0." + Payload + ".";

    private const string Keys = """
        {"keys":[
          {"kid":"a1","kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
          {"kid":"a2","kty":"RSA","use":"sig","alg":"RS256","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
          {"kid":"a3","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
          {"kid":"for-encryption","kty":"RSA","use":"enc","e":"AQAB","n":"AQAB"},
          {"kid":"of-another-kind","kty":"OKP","crv":"Ed25519","x":"AA"}]}
        """;

    private static readonly JwtVerifier Verifier = At(1300819379);

    [Theory]
    [InlineData(Hs256)]
    [InlineData(Rs256)]
    [InlineData(Es256)]
    public void The_signatures_of_RFC_7515_A1_to_A3_hold(string token) =>
        Assert.Equal(JwtResult.WrongAudience, Verifier.Judge(token));

    [Theory]
    [InlineData(Hs256)]
    [InlineData(Rs256)]
    [InlineData(Es256)]
    public void They_have_expired_since(string token) =>
        Assert.Equal(JwtResult.Expired, At(1300819380 + 30).Judge(token));

    [Theory]
    [InlineData(Hs256)]
    [InlineData(Rs256)]
    [InlineData(Es256)]
    public void No_flipped_bit_of_the_signature_goes_unnoticed(string token)
    {
        var cut = token.LastIndexOf('.') + 1;
        var signature = System.Buffers.Text.Base64Url.DecodeFromChars(token.AsSpan(cut));
        for (var bit = 0; bit < signature.Length * 8; bit++)
        {
            signature[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Equal(JwtResult.BadSignature, Verifier.Judge(token[..cut] + System.Buffers.Text.Base64Url.EncodeToString(signature)));
            signature[bit / 8] ^= (byte)(1 << (bit % 8));
        }
    }

    [Fact]
    public void The_unsecured_token_of_RFC_7519_6_1_is_refused() =>
        Assert.Equal(JwtResult.UnknownKey, Verifier.Judge(Unsecured));

    private static JwtVerifier At(long seconds)
    {
        var path = JwtForge.TempFile(Keys);
        var options = new JwtOptions { Issuer = "joe", Audience = "nobody", Keys = { new() { JwksFile = path } } };
        var verifier = new JwtVerifier(options, new FakeTimeProvider(DateTimeOffset.FromUnixTimeSeconds(seconds)));
        File.Delete(path);
        return verifier;
    }
}

using System.Text;
using FlashSale.Admission;
using FlashSale.Contracts;

namespace FlashSale.UnitTests.Admission;

public sealed class JwtVerifierTests
{
    private static readonly JwtVerifier Verifier = JwtForge.Verifier();

    [Theory]
    [InlineData("Bearer ")]
    [InlineData("bearer ")]
    [InlineData("BEARER ")]
    public void A_good_token_tells_its_user_whatever_the_case_of_the_scheme(string scheme)
    {
        Assert.Equal(JwtResult.Ok, Verifier.Verify(scheme + JwtForge.Token(JwtForge.GoodPayload), out var user));
        Assert.Equal("user-1", user);
    }

    [Theory]
    [InlineData(",\"client_id\":\"app-1\"", "app-1")]
    [InlineData(",\"client_id\":\"\\u0061pp-1\"", "app-1")]
    [InlineData(",\"client_id\":\"ü\"", "ü")]
    [InlineData("", null)]
    [InlineData(",\"client_id\":\"\"", null)]
    [InlineData(",\"client_id\":7", null)]
    [InlineData(",\"client_id\":{\"client_id\":\"app-1\"}", null)]
    public void A_good_token_tells_the_client_it_was_issued_to(string claim, string? client)
    {
        Assert.Equal(JwtResult.Ok, Verifier.Verify("Bearer " + JwtForge.Token(JwtForge.GoodPayload[..^1] + claim + "}"), out var user, out var hash));
        Assert.Equal("user-1", user);
        Assert.Equal(client is null ? 0 : Fingerprints.OfClient(Encoding.UTF8.GetBytes(client)), hash);
    }

    [Fact]
    public void A_token_that_is_refused_tells_no_client()
    {
        var payload = JwtForge.GoodPayload[..^1] + ",\"client_id\":\"app-1\"}";
        Assert.Equal(JwtResult.WrongIssuer, Verifier.Verify("Bearer " + JwtForge.Token(payload.Replace("id.example", "other.example")), out _, out var hash));
        Assert.Equal(0ul, hash);
        Assert.Equal(JwtResult.Malformed, Verifier.Verify("Bearer " + JwtForge.Token(JwtForge.GoodPayload[..^1] + ",\"client_id\":\"\\ud800\"}"), out _, out hash));
        Assert.Equal(0ul, hash);
    }

    [Theory]
    [InlineData("", JwtResult.Missing)]
    [InlineData("Basic dXNlcjpwYXNz", JwtResult.Missing)]
    [InlineData("Bearerx", JwtResult.Missing)]
    [InlineData("Bearer", JwtResult.Malformed)]
    [InlineData("Bearer ", JwtResult.Malformed)]
    [InlineData("Bearer .", JwtResult.Malformed)]
    [InlineData("Bearer ..", JwtResult.Malformed)]
    [InlineData("Bearer ...", JwtResult.Malformed)]
    [InlineData("Bearer a.b.c", JwtResult.Malformed)]
    [InlineData("Bearer bnVsbA.e30.e30", JwtResult.Malformed)]
    [InlineData("Bearer W10.e30.e30", JwtResult.Malformed)]
    [InlineData("Bearer e30.e30.e30", JwtResult.Malformed)]
    public void What_is_no_token_is_told_as_such(string header, JwtResult expected) =>
        Assert.Equal(expected, Verifier.Verify(header, out _));

    [Fact]
    public void A_token_of_the_full_length_is_read_and_a_longer_one_is_not()
    {
        // Base64url lengths go by steps; the step to just below the limit and the one beyond.
        var fit = JwtForge.Token(Padded(2920));
        Assert.InRange(fit.Length, 3900, JwtVerifier.MaxTokenLength);
        Assert.Equal(JwtResult.Ok, Verifier.Judge(fit));
        Assert.Equal(JwtResult.Malformed, Verifier.Judge(JwtForge.Token(Padded(3100))));

        static string Padded(int length) => JwtForge.GoodPayload[..^1] + ",\"pad\":\"" + new string('x', length - JwtForge.GoodPayload.Length) + "\"}";
    }

    [Theory]
    [InlineData("\"exp\":{0}", -31, JwtResult.Expired)]
    [InlineData("\"exp\":{0}", -30, JwtResult.Expired)]
    [InlineData("\"exp\":{0}", -29, JwtResult.Ok)]
    [InlineData("\"exp\":{0}.5", -30, JwtResult.Ok)]
    [InlineData("\"exp\":{0}.0e0", 5, JwtResult.Ok)]
    [InlineData("\"exp\":\"{0}\"", 60, JwtResult.Malformed)]
    [InlineData("\"exp\":null", 0, JwtResult.Malformed)]
    [InlineData("\"exp\":-1", 0, JwtResult.Malformed)]
    [InlineData("\"exp\":1e300", 0, JwtResult.Malformed)]
    [InlineData("\"exp\":1e999", 0, JwtResult.Malformed)]
    [InlineData("\"exq\":{0}", 60, JwtResult.Malformed)]
    [InlineData("\"exp\":9999999999,\"nbf\":{0}", 30, JwtResult.Ok)]
    [InlineData("\"exp\":9999999999,\"nbf\":{0}", 31, JwtResult.NotYetValid)]
    [InlineData("\"exp\":9999999999,\"nbf\":{0}.25", 30, JwtResult.NotYetValid)]
    [InlineData("\"exp\":9999999999,\"nbf\":\"{0}\"", 0, JwtResult.Malformed)]
    [InlineData("\"exp\":9999999999,\"nbf\":false", 0, JwtResult.Malformed)]
    public void Dates_hold_within_the_tolerance(string dates, int offset, JwtResult expected)
    {
        var member = dates.Replace("{0}", (JwtForge.NowSeconds + offset).ToString());
        Assert.Equal(expected, Verifier.Judge(JwtForge.Token("""{"iss":"https://id.example","aud":"flashsale","sub":"u",""" + member + "}")));
    }

    [Theory]
    [InlineData("\"aud\":\"flashsale\"", JwtResult.WrongIssuer)]
    [InlineData("\"aud\":\"flashsale\",\"iss\":null", JwtResult.WrongIssuer)]
    [InlineData("\"aud\":\"flashsale\",\"iss\":\"https://id.example/\"", JwtResult.WrongIssuer)]
    [InlineData("\"aud\":\"flashsale\",\"iss\":\"HTTPS://id.example\"", JwtResult.WrongIssuer)]
    [InlineData("\"aud\":\"flashsale\",\"iss\":[\"https://id.example\"]", JwtResult.WrongIssuer)]
    [InlineData("\"aud\":\"flashsale\",\"iss\":\"https:\\/\\/id.example\"", JwtResult.Ok)]
    [InlineData("\"iss\":\"https://id.example\"", JwtResult.WrongAudience)]
    [InlineData("\"iss\":\"https://id.example\",\"aud\":\"flashsale2\"", JwtResult.WrongAudience)]
    [InlineData("\"iss\":\"https://id.example\",\"aud\":[]", JwtResult.WrongAudience)]
    [InlineData("\"iss\":\"https://id.example\",\"aud\":[\"other\",\"flashsale\"]", JwtResult.Ok)]
    [InlineData("\"iss\":\"https://id.example\",\"aud\":[\"flashsale\",7]", JwtResult.WrongAudience)]
    [InlineData("\"iss\":\"https://id.example\",\"aud\":[[\"flashsale\"]]", JwtResult.WrongAudience)]
    [InlineData("\"iss\":\"https://id.example\",\"aud\":{\"flashsale\":\"flashsale\"}", JwtResult.WrongAudience)]
    public void Issuer_and_audience_are_ours_to_the_letter(string claims, JwtResult expected) =>
        Assert.Equal(expected, Verifier.Judge(JwtForge.Token("""{"sub":"u","exp":9999999999,""" + claims + "}")));

    [Theory]
    [InlineData("\"A.z_0:9@-\"", JwtResult.Ok)]
    [InlineData("\"1234567890123456789012345678901234567890123456789012345678901234\"", JwtResult.Ok)]
    [InlineData("\"12345678901234567890123456789012345678901234567890123456789012345\"", JwtResult.BadSubject)]
    [InlineData("\"\\u0061bc\"", JwtResult.Ok)]
    [InlineData("\"\"", JwtResult.BadSubject)]
    [InlineData("\"a b\"", JwtResult.BadSubject)]
    [InlineData("\"a|b\"", JwtResult.BadSubject)]
    [InlineData("\"a\\u0000\"", JwtResult.BadSubject)]
    [InlineData("\"usér\"", JwtResult.BadSubject)]
    [InlineData("42", JwtResult.BadSubject)]
    [InlineData("null", JwtResult.BadSubject)]
    [InlineData("[\"user\"]", JwtResult.BadSubject)]
    [InlineData("{\"sub\":\"user\"}", JwtResult.BadSubject)]
    [InlineData("\"\\ud800\"", JwtResult.Malformed)]
    public void The_subject_follows_the_grammar_of_user_ids(string subject, JwtResult expected) =>
        Assert.Equal(expected, Verifier.Judge(JwtForge.Token("""{"iss":"https://id.example","aud":"flashsale","exp":9999999999,"sub":""" + subject + "}")));

    [Fact]
    public void A_token_without_a_subject_is_nobodys() =>
        Assert.Equal(JwtResult.BadSubject, Verifier.Judge(JwtForge.Token("""{"iss":"https://id.example","aud":"flashsale","exp":9999999999}""")));

    [Theory]
    [InlineData("{0},\"sub\":\"admin\"}")]
    [InlineData("{0},\"\\u0073ub\":\"admin\"}")]
    [InlineData("{0},\"x\":1,\"x\":1}")]
    [InlineData("{0},}")]
    [InlineData("{0}}{}")]
    [InlineData("{0}} null")]
    [InlineData("{0}")]
    [InlineData("[{0}}]")]
    [InlineData("{0},\"x\":/*c*/1}")]
    public void A_payload_that_says_things_twice_or_is_broken_is_malformed(string template) =>
        Assert.Equal(JwtResult.Malformed, Verifier.Judge(JwtForge.Token(template.Replace("{0}", JwtForge.GoodPayload[..^1]))));

    [Fact]
    public void A_payload_of_many_members_is_read_up_to_the_bound()
    {
        static string With(int count) => JwtForge.GoodPayload[..^1] + string.Concat(Enumerable.Range(0, count).Select(i => $",\"m{i}\":{{\"n\":[{i}]}}")) + "}";
        Assert.Equal(JwtResult.Ok, Verifier.Judge(JwtForge.Token(With(43))));
        Assert.Equal(JwtResult.Malformed, Verifier.Judge(JwtForge.Token(With(44))));
    }

    [Fact]
    public void Many_threads_judge_at_once()
    {
        var tokens = Enumerable.Range(0, 64).Select(i => JwtForge.Token(JwtForge.GoodPayload.Replace("user-1", $"user-{i}"))).ToArray();
        Parallel.For(0, 20_000, i =>
        {
            var token = tokens[i % 64];
            Assert.Equal(JwtResult.Ok, Verifier.Verify("Bearer " + token, out var user));
            Assert.Equal($"user-{i % 64}", user);
            Assert.Equal(JwtResult.BadSignature, Verifier.Judge(token[..^4] + "AAAA"));
        });
    }

    [Fact]
    public void Verifying_allocates_the_user_id_and_nothing_else()
    {
        const int Rounds = 1000, BudgetBytes = 64;
        var header = "Bearer " + JwtForge.Token(JwtForge.GoodPayload);
        for (var i = 0; i < Rounds; i++)
        {
            Verifier.Verify(header, out _);
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < Rounds; i++)
        {
            Verifier.Verify(header, out _);
        }

        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / Rounds, 1, BudgetBytes);
    }
}

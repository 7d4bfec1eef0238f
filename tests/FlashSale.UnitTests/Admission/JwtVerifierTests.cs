using System.Text;
using FlashSale.Admission;
using FlashSale.Contracts;
using Microsoft.Extensions.Time.Testing;

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

    [Theory]
    [InlineData(700)]
    [InlineData(12_000)]
    [InlineData(48_000)]
    public void A_token_is_as_long_as_a_hosts_headers_may_be(int length)
    {
        var token = JwtForge.Token(JwtForge.GoodPayload[..^1] + ",\"roles\":\"" + new string('x', length - JwtForge.GoodPayload.Length) + "\"}");
        Assert.InRange(token.Length, length, 64 * 1024);
        Assert.Equal(JwtResult.Ok, Verifier.Judge(token));
        Assert.Equal(JwtResult.Malformed, Verifier.Judge(token + new string('A', 64 * 1024)));
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
    [InlineData("\"exq\":{0}", 60, JwtResult.NoExpiry)]
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
    [InlineData("\"auth0|5f7c8ec7c33c6c004bbafe82\"", JwtResult.Ok)]
    [InlineData("\"a+b@shop.example\"", JwtResult.Ok)]
    [InlineData("\"https:\\/\\/id.example\\/u?x=1#y\"", JwtResult.Ok)]
    [InlineData("\"!\\\"#$%&'()*+,;<=>[\\\\]^`{|}~\"", JwtResult.Ok)]
    [InlineData("\"\\u0061bc\"", JwtResult.Ok)]
    [InlineData("\"\"", JwtResult.BadUser)]
    [InlineData("\"a b\"", JwtResult.BadUser)]
    [InlineData("\"a\\u0000\"", JwtResult.BadUser)]
    [InlineData("\"a\\u007f\"", JwtResult.BadUser)]
    [InlineData("\"usér\"", JwtResult.BadUser)]
    [InlineData("42", JwtResult.BadUser)]
    [InlineData("null", JwtResult.BadUser)]
    [InlineData("[\"user\"]", JwtResult.BadUser)]
    [InlineData("{\"sub\":\"user\"}", JwtResult.BadUser)]
    [InlineData("\"\\ud800\"", JwtResult.Malformed)]
    public void The_subject_follows_the_grammar_of_user_ids(string subject, JwtResult expected) =>
        Assert.Equal(expected, Verifier.Judge(JwtForge.Token("""{"iss":"https://id.example","aud":"flashsale","exp":9999999999,"sub":""" + subject + "}")));

    [Theory]
    [InlineData(255, JwtResult.Ok)]
    [InlineData(256, JwtResult.BadUser)]
    public void A_user_id_has_up_to_255_characters_however_they_are_written(int length, JwtResult expected)
    {
        foreach (var letter in (string[])["~", "\\u007e"])
        {
            var subject = string.Concat(Enumerable.Repeat(letter, length));
            Assert.Equal(expected, Verifier.Judge(JwtForge.Token("""{"iss":"https://id.example","aud":"flashsale","exp":9999999999,"sub":""" + $"\"{subject}\"}}")));
        }
    }

    [Fact]
    public void Another_claim_may_name_the_user_and_then_the_subject_does_not()
    {
        var options = JwtForge.Options(new JwtKeyOptions { Kid = JwtForge.Kid, Secret = JwtForge.Secret });
        options.UserClaim = "https://shop.example/customer";
        var verifier = new JwtVerifier(options, new FakeTimeProvider(JwtForge.Now));
        var with = JwtForge.Token(JwtForge.GoodPayload[..^1] + ""","https://shop.example/customer":"c|7"}""");
        Assert.Equal(JwtResult.Ok, verifier.Verify("Bearer " + with, out var user));
        Assert.Equal("c|7", user);
        Assert.Equal(JwtResult.BadUser, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload)));
    }

    [Fact]
    public void A_token_without_a_subject_is_nobodys() =>
        Assert.Equal(JwtResult.BadUser, Verifier.Judge(JwtForge.Token("""{"iss":"https://id.example","aud":"flashsale","exp":9999999999}""")));

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

    [Theory]
    [InlineData(50)]
    [InlineData(1_200)]
    public void A_payload_of_many_members_is_read_and_a_repetition_among_them_is_found(int count)
    {
        string With(string more) => JwtForge.GoodPayload[..^1] + string.Concat(Enumerable.Range(0, count).Select(i => $",\"https://shop.example/m{i}\":{i}")) + more + "}";
        Assert.Equal(JwtResult.Ok, Verifier.Judge(JwtForge.Token(With(""))));
        foreach (var repeated in (int[])[0, count / 2, count - 1])
        {
            Assert.Equal(JwtResult.Malformed, Verifier.Judge(JwtForge.Token(With($",\"https://shop.example/\\u006d{repeated}\":1"))));
        }
    }

    [Fact]
    public void The_shortest_members_fill_their_room_and_no_more()
    {
        // The names have no character or one, and each has the shortest value. So these are as many members as that
        // many bytes can hold.
        var names = Enumerable.Range('!', '~' - '!' + 1).Select(c => (char)c).Where(c => c is not '"' and not '\\').Select(c => c.ToString()).Prepend("").ToArray();
        foreach (var count in Enumerable.Range(1, names.Length))
        {
            var payload = "{" + string.Join(',', names.Take(count).Select(name => $"\"{name}\":0")) + "}";
            Assert.Equal(JwtResult.NoExpiry, Verifier.Judge(JwtForge.Token(payload)));
            Assert.Equal(JwtResult.Malformed, Verifier.Judge(JwtForge.Token(payload[..^1] + ",\"\":0}")));
        }
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

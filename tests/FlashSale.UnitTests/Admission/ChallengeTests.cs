using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FlashSale.Admission;
using FsCheck;
using FsCheck.Fluent;

namespace FlashSale.UnitTests.Admission;

public sealed class ChallengeTests
{
    private const int MaxNumber = 1_000;
    private const long Now = 1_795_000_000_123;

    private static readonly Challenges Ours = With(MaxNumber);

    [Fact]
    public void A_challenge_is_solved_by_hashing_and_by_nothing_else()
    {
        var challenge = Ours.Issue("s1", "a.b_c:d@e-f", Now).First;
        Assert.Equal(("SHA-256", MaxNumber), (challenge.Algorithm, challenge.MaxNumber));
        Assert.EndsWith($"&maxnumber=1000&sale=s1&user={Convert.ToHexStringLower(SHA256.HashData("a.b_c:d@e-f"u8))[..16]}&", challenge.Salt);
        var number = Solve(challenge);
        var solved = Ours.Check(Encode(challenge, number), "s1", "a.b_c:d@e-f", Now);
        Assert.Equal(Convert.FromHexString(challenge.Challenge)[..16], solved!.Value.Id);
        for (var other = 0; other <= MaxNumber; other++)
        {
            if (other != number) Assert.Null(Ours.Check(Encode(challenge, other), "s1", "a.b_c:d@e-f", Now));
        }
    }

    [Fact]
    public void It_lives_as_long_as_it_says()
    {
        var challenge = Ours.Issue("s1", "u", Now).First;
        var expires = long.Parse(challenge.Salt.Split('=', '&')[1]) * 1_000;
        Assert.InRange(expires - Now, 120_000, 120_999);
        var solution = Encode(challenge, Solve(challenge));
        Assert.Equal(expires, Ours.Check(solution, "s1", "u", expires - 1)!.Value.ExpiresAt);
        Assert.Null(Ours.Check(solution, "s1", "u", expires));
    }

    [Fact]
    public void It_is_for_one_user_in_one_sale_under_one_key_and_hard_enough()
    {
        var challenge = Ours.Issue("s1", "u", Now).First;
        var solution = Encode(challenge, Solve(challenge));
        Assert.NotNull(Ours.Check(solution, "s1", "u", Now));
        Assert.Null(Ours.Check(solution, "s2", "u", Now));
        Assert.Null(Ours.Check(solution, "s1", "v", Now));
        Assert.Null(With(MaxNumber, 'l').Check(solution, "s1", "u", Now));
        Assert.Null(With(MaxNumber + 1).Check(solution, "s1", "u", Now));
        var harder = With(MaxNumber + 1).Issue("s1", "u", Now).First;
        Assert.NotNull(Ours.Check(Encode(harder, Solve(harder)), "s1", "u", Now));
    }

    // CVE-2025-68113: without a delimiter between them, "…expires=17" + "5" and "…expires=175" + "" are the same hash.
    [Fact]
    public void No_digit_moves_between_salt_and_number()
    {
        for (var round = 0; round < 50; round++)
        {
            var challenge = Ours.Issue("s1", "u", Now).First;
            var text = challenge.Salt + Solve(challenge);
            for (var cut = 1; cut < text.Length; cut++)
            {
                if (!int.TryParse(text.AsSpan(cut), out var number) || text[..cut] == challenge.Salt) continue;
                Assert.Null(Ours.Check(Encode(challenge with { Salt = text[..cut] }, number), "s1", "u", Now));
            }
        }
    }

    [Fact]
    public void Whatever_text_comes_it_is_judged_without_an_exception() => Check.One(Config.QuickThrowOnFailure.WithMaxTest(500), Prop.ForAll(
        Gen.OneOf(
            Gen.ArrayOf(Gen.Choose(0, 255).Select(value => (byte)value)).Select(Convert.ToBase64String),
            Gen.ArrayOf(Gen.Choose(32, 1_000).Select(value => (char)value)).Select(letters => new string(letters)),
            from at in Gen.Choose(0, 400)
            from to in Gen.Choose(0, 255)
            select Changed(at, (byte)to)).ToArbitrary(),
        text => Assert.Null(Ours.Check(text, "s1", "u", Now))));

    [Fact]
    public void Its_number_may_be_any_up_to_the_highest()
    {
        var numbers = Enumerable.Range(0, 300).Select(_ => Solve(Ours.Issue("s1", "u", Now).First)).ToList();
        Assert.InRange(numbers.Min(), 0, MaxNumber / 4);
        Assert.InRange(numbers.Max(), MaxNumber * 3 / 4, MaxNumber);
        Assert.InRange(numbers.Distinct().Count(), 150, 300);
    }

    // Returns a good solution of another user with one byte changed.
    private static string Changed(int at, byte to)
    {
        var challenge = Ours.Issue("s1", "v", Now).First;
        var json = Json(challenge, 7);
        json[at % json.Length] = to;
        return Convert.ToBase64String(json);
    }

    private static Challenges With(int maxNumber, char key = 'k') => new(new AdmissionOptions { TicketKey = new string(key, 32), ChallengeMaxNumber = maxNumber });

    private static int Solve(ProofOfWork challenge) => Enumerable.Range(0, challenge.MaxNumber + 1)
        .First(number => Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(challenge.Salt + number))) == challenge.Challenge);

    private static string Encode(ProofOfWork challenge, int number) => Convert.ToBase64String(Json(challenge, number));

    private static byte[] Json(ProofOfWork challenge, int number) => JsonSerializer.SerializeToUtf8Bytes(
        new { algorithm = challenge.Algorithm, challenge = challenge.Challenge, number, salt = challenge.Salt, signature = challenge.Signature, took = 3 });
}

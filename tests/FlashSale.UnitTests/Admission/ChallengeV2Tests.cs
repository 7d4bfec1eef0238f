using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using FlashSale.Admission;
using FsCheck;
using FsCheck.Fluent;

namespace FlashSale.UnitTests.Admission;

/// <summary>Challenges of ALTCHA's version 2.</summary>
public sealed class ChallengeV2Tests
{
    private const int MaxNumber = 1_000;
    private const long Now = 1_795_000_000_123;

    private static readonly Challenges Ours = With(MaxNumber);

    private static readonly Dictionary<string, Action<JsonNode>> Wrong = new(StringComparer.Ordinal)
    {
        ["another counter"] = node => node["solution"]!["counter"] = (node["solution"]!["counter"]!.GetValue<int>() + 1) % MaxNumber,
        ["a negative counter"] = node => node["solution"]!["counter"] = -1,
        ["a counter of more than 32 bits"] = node => node["solution"]!["counter"] = node["solution"]!["counter"]!.GetValue<int>() + (1L << 32),
        ["a counter as text"] = node => node["solution"]!["counter"] = "1",
        ["another key"] = node => node["solution"]!["derivedKey"] = new string('0', 64),
        ["no key"] = node => node["solution"]!.AsObject().Remove("derivedKey"),
        ["no solution"] = node => node.AsObject().Remove("solution"),
        ["a longer life"] = node => node["challenge"]!["parameters"]!["expiresAt"] = Now,
        ["less work"] = node => node["challenge"]!["parameters"]!["data"]!["maxnumber"] = MaxNumber - 1,
        ["more work"] = node => node["challenge"]!["parameters"]!["data"]!["maxnumber"] = MaxNumber + 1,
        ["no difficulty"] = node => node["challenge"]!["parameters"]!.AsObject().Remove("data"),
        ["a shorter prefix"] = node => node["challenge"]!["parameters"]!["keyPrefix"] = "00",
        ["another algorithm"] = node => node["challenge"]!["parameters"]!["algorithm"] = "SHA-512",
        ["another cost"] = node => node["challenge"]!["parameters"]!["cost"] = 2,
        ["another key length"] = node => node["challenge"]!["parameters"]!["keyLength"] = 16,
        ["another nonce"] = node => node["challenge"]!["parameters"]!["nonce"] = new string('0', 32),
        ["a nonce that is not hex"] = node => node["challenge"]!["parameters"]!["nonce"] = new string('x', 32),
        ["another salt"] = node => node["challenge"]!["parameters"]!["salt"] = new string('0', 32),
        ["another signature"] = node => node["challenge"]!["signature"] = new string('0', 64),
        ["no signature"] = node => node["challenge"]!.AsObject().Remove("signature"),
        ["a challenge of null"] = node => node["challenge"] = null,
        ["a challenge that is a list"] = node => node["challenge"] = new JsonArray(1),
    };

    public static TheoryData<string> Cases => [.. Wrong.Keys];

    [Fact]
    public void A_solution_of_version_2_is_taken_for_its_user_in_its_sale_until_it_expires()
    {
        var challenge = Ours.Issue("s1", "auth0|7", Now).Second;
        var (solution, key) = Solve(challenge);
        var expires = challenge.Parameters.ExpiresAt * 1_000;
        var solved = Ours.Check(Encode(solution), "s1", "auth0|7", expires - 1);
        Assert.Equal((Convert.ToHexStringLower(key[..16]), expires), (Convert.ToHexStringLower(solved!.Value.Id), solved.Value.ExpiresAt));
        Assert.InRange(expires - Now, 120_000, 120_999);
        Assert.Null(Ours.Check(Encode(solution), "s1", "auth0|7", expires));
        Assert.Null(Ours.Check(Encode(solution), "s2", "auth0|7", Now));
        Assert.Null(Ours.Check(Encode(solution), "s1", "auth0|8", Now));
        Assert.Null(With(MaxNumber + 1).Check(Encode(solution), "s1", "auth0|7", Now));
        Assert.Null(With(MaxNumber, 'l').Check(Encode(solution), "s1", "auth0|7", Now));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_solution_that_is_changed_is_refused(string name)
    {
        var (solution, _) = Solve(Ours.Issue("s1", "u", Now).Second);
        Assert.NotNull(Ours.Check(Encode(solution), "s1", "u", Now));
        Wrong[name](solution);
        Assert.Null(Ours.Check(Encode(solution), "s1", "u", Now));
    }

    [Fact]
    public void Whatever_byte_of_a_solution_is_changed_it_is_judged_without_an_exception()
    {
        var (solution, _) = Solve(Ours.Issue("s1", "u", Now).Second);
        // The check ignores this member, so a change in it would not matter.
        solution["solution"]!.AsObject().Remove("time");
        var good = Encoding.UTF8.GetBytes(solution.ToJsonString());
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(500), Prop.ForAll(
            (from at in Gen.Choose(0, good.Length - 1) from to in Gen.Choose(0, 255) select (at, (byte)to)).ToArbitrary(),
            change =>
            {
                var bytes = (byte[])good.Clone();
                bytes[change.at] = change.Item2;
                // The signature may be in capitals.
                var isSame = (bytes[change.at] ^ good[change.at]) is 0 or 0x20;
                Assert.True(Ours.Check(Convert.ToBase64String(bytes), "s1", "u", Now) is null || isSame, Encoding.UTF8.GetString(bytes));
            }));
    }

    private static Challenges With(int maxNumber, char key = 'k') => new(new AdmissionOptions { TicketKey = new string(key, 32), ChallengeMaxNumber = maxNumber });

    // Solves a challenge as altcha-lib 2 does: SHA-256 of salt, nonce and counter, until it begins with the prefix.
    private static (JsonObject Solution, byte[] Key) Solve(ProofOfWorkV2 challenge)
    {
        byte[] text = [.. Convert.FromHexString(challenge.Parameters.Salt), .. Convert.FromHexString(challenge.Parameters.Nonce), 0, 0, 0, 0];
        for (var counter = 0; ; counter++)
        {
            Assert.InRange(counter, 0, challenge.Parameters.Data.MaxNumber);
            BinaryPrimitives.WriteInt32BigEndian(text.AsSpan(32), counter);
            var key = SHA256.HashData(text);
            if (!Convert.ToHexStringLower(key).StartsWith(challenge.Parameters.KeyPrefix, StringComparison.Ordinal)) continue;
            var solution = new JsonObject
            {
                ["challenge"] = JsonSerializer.SerializeToNode(challenge, JsonSerializerOptions.Web),
                ["solution"] = new JsonObject { ["counter"] = counter, ["derivedKey"] = Convert.ToHexStringLower(key), ["time"] = 1.5 },
            };
            return (solution, key);
        }
    }

    private static string Encode(JsonObject solution) => Convert.ToBase64String(Encoding.UTF8.GetBytes(solution.ToJsonString()));
}

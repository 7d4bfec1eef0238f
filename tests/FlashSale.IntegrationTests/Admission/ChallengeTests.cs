using System.Text;
using System.Text.Json.Nodes;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admission;

/// <summary>
/// With challenges on, each ticket costs one solved challenge. It must be the shopper's own, for this sale, not
/// expired, hard enough and not used before.
/// </summary>
public sealed class ChallengeTests(TwoApisWithChallenges fixture, ITestOutputHelper output) : AdmissionTest(fixture, output), IClassFixture<TwoApisWithChallenges>
{
    private const int MaxNumber = TwoApisWithChallenges.MaxNumber;

    private static readonly byte[] OtherKey = Encoding.ASCII.GetBytes(new string('k', 32));

    // Each case makes a right solution wrong. The first argument is a good solution, the others are the sale, the user
    // and a time in the future.
    private static readonly Dictionary<string, Func<JsonObject, string, string, long, JsonNode>> Wrong = new(StringComparer.Ordinal)
    {
        ["another number"] = (good, _, _, _) => With(good, "number", (int)good["number"]! + 1),
        ["a negative number"] = (good, _, _, _) => With(good, "number", -1),
        ["a number as text"] = (good, _, _, _) => With(good, "number", good["number"]!.ToString()),
        ["a number with a fraction"] = (good, _, _, _) => With(good, "number", (int)good["number"]! + 0.5),
        ["a number of 2^70"] = (good, _, _, _) => With(good, "number", JsonNode.Parse("1180591620717411303424")!),
        ["another algorithm"] = (good, _, _, _) => With(good, "algorithm", "SHA-1"),
        ["no algorithm"] = (good, _, _, _) => Without(good, "algorithm"),
        ["no challenge"] = (good, _, _, _) => Without(good, "challenge"),
        ["no number"] = (good, _, _, _) => Without(good, "number"),
        ["no salt"] = (good, _, _, _) => Without(good, "salt"),
        ["no signature"] = (good, _, _, _) => Without(good, "signature"),
        ["salt null"] = (good, _, _, _) => With(good, "salt", null),
        ["a list for a salt"] = (good, _, _, _) => With(good, "salt", new JsonArray(1, 2)),
        ["a salt of 1,000 characters"] = (good, _, _, _) => With(good, "salt", new string('a', 1_000)),
        ["a longer expiry"] = (good, _, _, _) => With(good, "salt", good["salt"]!.ToString().Replace("expires=1", "expires=9", StringComparison.Ordinal)),
        ["a signature turned by a bit"] = (good, _, _, _) => With(good, "signature", Flipped(good["signature"]!.ToString())),
        ["a signature in capitals of another"] = (good, _, _, _) => With(good, "signature", new string('A', 64)),
        ["a signature that is none"] = (good, _, _, _) => With(good, "signature", new string('z', 64)),
        ["another challenge"] = (good, _, _, _) => With(good, "challenge", Flipped(good["challenge"]!.ToString())),
        ["another key's"] = (_, sale, user, later) => AdmissionForge.Solution(sale, user, later, MaxNumber, 7, key: OtherKey),
        ["another user's"] = (_, sale, _, later) => AdmissionForge.Solution(sale, "somebody-else", later, MaxNumber, 7),
        ["another sale's"] = (_, sale, user, later) => AdmissionForge.Solution(sale + "0", user, later, MaxNumber, 7),
        ["expired"] = (_, sale, user, later) => AdmissionForge.Solution(sale, user, later - 121, MaxNumber, 7),
        ["too easy"] = (_, sale, user, later) => AdmissionForge.Solution(sale, user, later, MaxNumber - 1, 7),
        ["beyond its highest number"] = (_, sale, user, later) => AdmissionForge.Solution(sale, user, later, MaxNumber, MaxNumber + 1),
        ["a salt without its last delimiter"] = (_, sale, user, later) => AdmissionForge.Solution(sale, user, later, MaxNumber, 7,
            salt: $"{new string('a', 32)}?expires={later}&maxnumber={MaxNumber}&sale={sale}&user={AdmissionForge.UserOf(user)}"),
        ["a salt with a parameter more"] = (_, sale, user, later) => AdmissionForge.Solution(sale, user, later, MaxNumber, 7,
            salt: $"{new string('a', 32)}?expires={later}&maxnumber={MaxNumber}&sale={sale}&user={AdmissionForge.UserOf(user)}&x=1&"),
        ["a salt without parameters"] = (_, sale, user, later) => AdmissionForge.Solution(sale, user, later, MaxNumber, 7, salt: new string('a', 32)),
        ["a list"] = (_, _, _, _) => new JsonArray(1, 2, 3),
        ["a text"] = (_, _, _, _) => JsonValue.Create("solution"),
    };

    private static readonly Dictionary<string, (string Body, string? Type, int Status)> Bodies = new(StringComparer.Ordinal)
    {
        ["no JSON"] = ("{", "application/json", 400),
        ["null"] = ("null", "application/json", 400),
        ["a list"] = ("[]", "application/json", 400),
        ["a number"] = ("7", "application/json", 400),
        ["blanks"] = ("   ", "application/json", 400),
        ["two objects"] = ("{}{}", "application/json", 400),
        ["deep lists"] = (new string('[', 4_000), "application/json", 400),
        ["an unknown member"] = ("""{"solution":"","x":1}""", "application/json", 400),
        ["solution twice"] = ("""{"solution":"","solution":""}""", "application/json", 400),
        ["a solution that is a number"] = ("""{"solution":1}""", "application/json", 400),
        ["a solution that is a list"] = ("""{"solution":["a"]}""", "application/json", 400),
        ["a solution that is an object"] = ("""{"solution":{"number":1}}""", "application/json", 400),
        ["half a surrogate pair"] = ("""{"solution":"\ud800"}""", "application/json", 400),
        ["9 KB"] = ($$"""{"solution":"{{new string('A', 9 * 1024)}}"}""", "application/json", 413),
        ["1 MB"] = (new string('{', 1024 * 1024), "application/json", 413),
        ["XML"] = ("<solution/>", "application/xml", 415),
        ["a form"] = ("solution=a", "application/x-www-form-urlencoded", 415),
        ["no type"] = ("{}", null, 415),
        ["no solution"] = ("{}", "application/json", 403),
        ["a solution of null"] = ("""{"solution":null}""", "application/json", 403),
        ["an empty solution"] = ("""{"solution":""}""", "application/json", 403),
        ["a solution that is no base64"] = ("""{"solution":"!!!"}""", "application/json", 403),
        ["a solution that is no JSON"] = ($$"""{"solution":"{{Convert.ToBase64String("no JSON"u8)}}"}""", "application/json", 403),
        ["a solution that is no text"] = ($$"""{"solution":"{{Convert.ToBase64String([0xff, 0xfe, 0, 1])}}"}""", "application/json", 403),
        ["a solution of nested lists"] = ($$"""{"solution":"{{Convert.ToBase64String(Encoding.ASCII.GetBytes(new string('[', 1_000)))}}"}""", "application/json", 403),
        ["a solution of 8,000 characters"] = ($$"""{"solution":"{{new string('A', 8_000)}}"}""", "application/json", 403),
    };

    public static TheoryData<string> WrongCases => [.. Wrong.Keys];

    public static TheoryData<string> BodyCases => [.. Bodies.Keys];

    [Fact]
    public async Task Whoever_solves_the_challenge_is_admitted_and_buys()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        var shopper = Stack.Shopper("a.b_c:d@e-f");
        var asked = AssertChallenged(await shopper.AdmitAsync(sale.Id));
        Assert.Equal("no-store", asked.Header("cache-control"));
        var admitted = Manager.Expect(200, await Stack.Shopper("a.b_c:d@e-f", node: 1).AdmitAsync(sale.Id, AdmissionForge.Body(AdmissionForge.Solve(asked.Json.GetProperty("challenge")))));
        Assert.Equal(202, (await shopper.BuyAsync(sale, ticket: admitted.Member("ticket"))).Status);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_challenge_is_solved_in_its_second_version_as_well()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        var asked = AssertChallenged(await Stack.Shopper("auth0|v2").AdmitAsync(sale.Id));
        var body = AdmissionForge.Body(AdmissionForge.SolveV2(asked.Json.GetProperty("challengeV2")));
        AssertChallenged(await Stack.Shopper("somebody-else").AdmitAsync(sale.Id, body));
        var admitted = Manager.Expect(200, await Stack.Shopper("auth0|v2", node: 1).AdmitAsync(sale.Id, body));
        Assert.Equal(202, (await Stack.Shopper("auth0|v2").BuyAsync(sale, ticket: admitted.Member("ticket"))).Status);
        // The purchase burnt the ticket, and the solution with it.
        AssertChallenged(await Stack.Shopper("auth0|v2").AdmitAsync(sale.Id, body));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task No_two_challenges_are_the_same()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        var challenges = await Task.WhenAll(Enumerable.Range(0, 50).Select(i => Stack.Shopper("u", i % 2).AdmitAsync(sale.Id)));
        Assert.Equal(50, challenges.Select(answer => AssertChallenged(answer).Json.GetProperty("challenge").GetProperty("salt").GetString()).Distinct().Count());
    }

    [Theory]
    [MemberData(nameof(WrongCases))]
    public async Task A_solution_that_is_wrong_gets_a_fresh_challenge(string name)
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        var shopper = Stack.Shopper("u");
        var asked = AssertChallenged(await shopper.AdmitAsync(sale.Id));
        var good = AdmissionForge.Solve(asked.Json.GetProperty("challenge"));
        var later = await RedisNowAsync() / 1_000 + 120;
        var again = AssertChallenged(await shopper.AdmitAsync(sale.Id, AdmissionForge.Body(Wrong[name]((JsonObject)good.DeepClone(), sale.Id, "u", later))));
        Assert.NotEqual(asked.Json.GetProperty("challenge").GetProperty("challenge").GetString(), again.Json.GetProperty("challenge").GetProperty("challenge").GetString());
        // The wrong attempt spoils neither the good solution nor a right solution that the test forged in the same way.
        Assert.Equal(200, (await shopper.AdmitAsync(sale.Id, AdmissionForge.Body(good))).Status);
        Assert.Equal(200, (await shopper.AdmitAsync(sale.Id, AdmissionForge.Body(AdmissionForge.Solution(sale.Id, "u", later, MaxNumber, 7)))).Status);
    }

    [Theory]
    [MemberData(nameof(BodyCases))]
    public async Task A_body_of_any_shape_is_refused(string name)
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        var (body, type, status) = Bodies[name];
        var answer = await Stack.Shopper("u").AdmitAsync(sale.Id, body, type);
        if (status == 403) AssertChallenged(answer);
        else Refusal.AssertIs(status, status switch { 400 => "invalid_request", 413 => "body_too_large", _ => "unsupported_media_type" }, answer);
    }

    [Fact]
    public async Task Whatever_byte_of_a_solution_is_changed_it_does_not_admit()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        var good = AdmissionForge.Solution(sale.Id, "u", await RedisNowAsync() / 1_000 + 120, MaxNumber, 7);
        good.Remove("took");
        var text = Encoding.UTF8.GetBytes(good.ToJsonString());
        await Crowd.EachAsync(Enumerable.Range(0, text.Length), 8, async i =>
        {
            var changed = (byte[])text.Clone();
            changed[i] ^= 1;
            AssertChallenged(await Stack.Shopper("u", i % 2).AdmitAsync(sale.Id, $$"""{"solution":"{{Convert.ToBase64String(changed)}}"}"""));
        });
        Assert.Equal(200, (await Stack.Shopper("u").AdmitAsync(sale.Id, AdmissionForge.Body(good))).Status);
    }

    [Fact]
    public async Task One_solution_sent_to_two_nodes_at_once_admits_once()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10, perUserLimit: 10);
        for (var round = 0; round < 5; round++)
        {
            var asked = AssertChallenged(await Stack.Shopper("u").AdmitAsync(sale.Id));
            var body = AdmissionForge.Body(AdmissionForge.Solve(asked.Json.GetProperty("challenge")));
            var answers = await Task.WhenAll(Enumerable.Range(0, 40).Select(i => Stack.Shopper("u", i % 2).AdmitAsync(sale.Id, body)));
            var ticket = Assert.Single(answers.Select(answer => Manager.Expect(200, answer).Member("ticket")).Distinct());
            Assert.Equal(202, (await Stack.Shopper("u").BuyAsync(sale, ticket: ticket)).Status);
            AssertChallenged(await Stack.Shopper("u").AdmitAsync(sale.Id, body));
        }
    }

    [Fact]
    public async Task Challenges_that_were_answered_are_remembered_as_long_as_they_live_and_no_longer()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10);
        var expires = await RedisNowAsync() / 1_000 + 6;
        var body = AdmissionForge.Body(AdmissionForge.Solution(sale.Id, "u", expires, MaxNumber, 7));
        var ticket = Manager.Expect(200, await Stack.Shopper("u").AdmitAsync(sale.Id, body)).Member("ticket");
        Assert.Equal(1, await SolvedAsync(sale));
        // While the ticket can still buy, the user would get the same one again.
        Assert.Equal(202, (await Stack.Shopper("u").BuyAsync(sale, ticket: ticket)).Status);
        await Eventually.TrueAsync("it is forgotten", TimeSpan.FromSeconds(20), async () =>
        {
            AssertChallenged(await Stack.Shopper("u", node: 1).AdmitAsync(sale.Id, body));
            return await SolvedAsync(sale) == 0;
        });
        Assert.InRange(await RedisNowAsync(), expires * 1_000, long.MaxValue);
        AssertChallenged(await Stack.Shopper("u").AdmitAsync(sale.Id, body));
    }

    [Fact]
    public async Task Whoever_is_refused_for_the_rate_keeps_his_solution()
    {
        var sale = await Stack.OpenTicketedSaleAsync(stock: 10, admissionPerSecond: 1);
        var bodies = new List<string>();
        foreach (var user in (string[])["a", "b", "c"])
            bodies.Add(AdmissionForge.Body(AdmissionForge.Solve(AssertChallenged(await Stack.Shopper(user).AdmitAsync(sale.Id)).Json.GetProperty("challenge"))));
        var first = await Task.WhenAll(((string[])["a", "b", "c"]).Select((user, i) => Stack.Shopper(user, i % 2).AdmitAsync(sale.Id, bodies[i])));
        Assert.Contains(first, answer => answer.Status == 200);
        Assert.Contains(first, answer => answer.Code == "rate_limited");
        for (var i = 0; i < 3; i++)
        {
            if (first[i].Status == 200) continue;
            Refusal.AssertIs(429, "rate_limited", first[i]);
            var shopper = Stack.Shopper($"{(char)('a' + i)}", i % 2);
            await Eventually.TrueAsync("admitted with the same solution", TimeSpan.FromSeconds(20), async () =>
            {
                var answer = await shopper.AdmitAsync(sale.Id, bodies[i]);
                if (answer.Status != 200) Refusal.AssertIs(429, "rate_limited", answer);
                return answer.Status == 200;
            });
        }
    }

    private static Answer AssertChallenged(Answer answer)
    {
        Refusal.AssertIs(403, "challenge_required", answer);
        var challenge = answer.Json.GetProperty("challenge");
        Assert.Equal(["algorithm", "challenge", "maxnumber", "salt", "signature"], challenge.EnumerateObject().Select(member => member.Name).Order());
        Assert.Equal("SHA-256", challenge.GetProperty("algorithm").GetString());
        Assert.Equal(MaxNumber, challenge.GetProperty("maxnumber").GetInt32());
        Assert.Matches("^[0-9a-f]{64}$", challenge.GetProperty("challenge").GetString());
        Assert.Matches("^[0-9a-f]{64}$", challenge.GetProperty("signature").GetString());
        Assert.Matches(@"^[0-9a-f]{32}\?expires=\d{10}&.*&$", challenge.GetProperty("salt").GetString());
        return answer;
    }

    private async Task<int> SolvedAsync(Sale sale) => (await Stack.Redis.Client.ListAsync("KEYS", $"{sale.RedisPrefix}solved:*".Replace("{", "[{]", StringComparison.Ordinal))).Count;

    private static JsonObject With(JsonObject good, string member, JsonNode? value)
    {
        good[member] = value;
        return good;
    }

    private static JsonObject Without(JsonObject good, string member)
    {
        good.Remove(member);
        return good;
    }

    private static string Flipped(string hex) => (hex[0] == '0' ? '1' : '0') + hex[1..];
}

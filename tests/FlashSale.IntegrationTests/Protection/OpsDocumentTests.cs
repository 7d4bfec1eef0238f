using System.Text.Json;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Protection;

/// <summary>
/// Admin refuses a document that can have no effect, shows the document in force, and has a way back to the built-in
/// one.
/// </summary>
[Collection<OnOneOfEach>]
public sealed class OpsDocumentTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    [Theory]
    [InlineData("POST", "/api/v1/sale/{id}/orders")]
    [InlineData("POST", "/api/v1/sales/{id}")]
    [InlineData("GET", "/api/v1/sales/{id}/orders")]
    [InlineData("*", "/nope")]
    [InlineData("PATCH", "/**")]
    [InlineData("*", "/api/v2/**")]
    public async Task A_rule_that_no_request_can_match_is_refused_by_its_place(string method, string path)
    {
        var answer = Refusal.AssertIs(400, "invalid_request", await PutAsync("limits", new { rules = new[] { Ops.Rule("x", "ip", 1, 1, path, method) } }));
        Assert.StartsWith("rules[0].match.path is no request of the shopper API", answer.Json.GetProperty("errors")[0].GetProperty("message").GetString());
    }

    [Fact]
    public async Task A_rule_may_name_every_route_of_the_shopper_api()
    {
        var document = (await Stack.Shopper("anyone").GetAsync("/openapi/v1.json")).Json;
        try
        {
            foreach (var path in document.GetProperty("paths").EnumerateObject())
            {
                foreach (var method in path.Value.EnumerateObject().Select(operation => operation.Name.ToUpperInvariant()))
                {
                    var answer = await PutAsync("limits", new { rules = new[] { Ops.Rule("x", "ip", 1_000, 1_000, path.Name, method) } });
                    Assert.True(answer.Status == 200, $"{method} {path.Name}: {answer}");
                }
            }
        }
        finally
        {
            Manager.Expect(200, await Stack.Manager.SendAsync(HttpMethod.Delete, "/api/v1/ops/limits"));
        }
    }

    [Fact]
    public async Task The_built_in_limits_can_be_put_back()
    {
        var none = Manager.Expect(200, await PutAsync("limits", new { rules = Array.Empty<object>() }));
        Refusal.AssertIs(412, "precondition_failed", await Stack.Manager.SendAsync(HttpMethod.Delete, "/api/v1/ops/limits", null, ("If-Match", "\"1\"")));
        var back = Manager.Expect(200, await Stack.Manager.SendAsync(HttpMethod.Delete, "/api/v1/ops/limits", null, ("If-Match", none.Header("etag")!)));
        Assert.Equal("purchases-per-user", back.Json.GetProperty("rules")[0].GetProperty("name").GetString());
        Assert.Equal(back.Header("etag"), (await Stack.Manager.GetAsync("/api/v1/ops/limits")).Header("etag"));
    }

    [Fact]
    public async Task Switches_show_all_that_holds_and_of_the_nodes_only_what_is_in_effect()
    {
        var set = Manager.Expect(200, await PutAsync("switches", new { level = 1, reason = "a test" }));
        Assert.False(set.Json.TryGetProperty("nodes", out _));
        Assert.Equal((0, 2), (set.Json.GetProperty("floor").GetInt32(), set.Json.GetProperty("ceiling").GetInt32()));
        var shown = await Eventually.GetAsync("the node follows", TimeSpan.FromSeconds(20), () => Stack.Manager.GetAsync("/api/v1/ops/switches"),
            answer => answer.Json.GetProperty("nodes").EnumerateObject().Any(node => node.Value.GetProperty("level").GetInt32() == 1));
        Assert.Equal((0, 2, JsonValueKind.Null), (shown.Json.GetProperty("floor").GetInt32(), shown.Json.GetProperty("ceiling").GetInt32(), shown.Json.GetProperty("until").ValueKind));
        // A document may be sent back as it was read.
        Manager.Expect(200, await PutAsync("switches", shown.Json));
        Refusal.AssertIs(400, "invalid_request", await PutAsync("switches", new { level = (int?)null, reason = "a test", until = "2031-01-01T00:00:00Z" }));
        Manager.Expect(200, await PutAsync("switches", new { level = (int?)null, reason = "a test" }));
    }

    private Task<Answer> PutAsync(string name, object document) => Stack.Manager.SendAsync(HttpMethod.Put, $"/api/v1/ops/{name}", document);
}

using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>A role reaches only the routes that it may use. Only the OpenAPI document is open to everybody.</summary>
[Collection<OnOneOfEach>]
public sealed class AccessTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private const string Document = "/openapi/v1.json";

    [Fact]
    public async Task Without_a_known_token_nothing_is_answered_but_the_document()
    {
        foreach (var token in (string[])["x", "operator-token-of-the-test", "OPERATOR-TOKEN-OF-THE-TESTS", new string('x', 5_000)])
        {
            using var stranger = new Manager(() => Stack.Admin.Url, token);
            foreach (var path in (string[])["/api/v1/sales", "/api/v1/sales/s1", "/api/v1/audit", "/nothing", "/"])
                Refusal.AssertIs(401, "unauthenticated", await stranger.GetAsync(path));
            Refusal.AssertIs(401, "unauthenticated", await stranger.PostAsync("/api/v1/sales", new { }));
            Assert.Equal(200, (await stranger.GetAsync(Document)).Status);
        }
    }

    [Theory]
    [InlineData(Manager.ViewerToken, "manager", "POST /api/v1/sales|PUT /api/v1/sales/s0|POST /api/v1/sales/s0/items:import|POST /api/v1/sales/s0/preload|POST /api/v1/sales/s0/open|"
        + "POST /api/v1/sales/s0/pause|POST /api/v1/sales/s0/resume|POST /api/v1/sales/s0/close|POST /api/v1/sales/s0/items/a/stock|GET /api/v1/sales/s0/orders.csv"
        + "|DELETE /api/v1/sales/s0|POST /api/v1/sales/s0/window")]
    [InlineData(Manager.ManagerToken, "operator", "POST /api/v1/sales/s0/rebuild|POST /api/v1/dead-letters/1/retry|POST /api/v1/dead-letters/1/reject"
        + "|POST /api/v1/orders/0/cancel|POST /api/v1/orders/0/refund")]
    public async Task A_role_that_does_not_reach_is_told_which_is_needed(string token, string needed, string requests)
    {
        using var manager = new Manager(() => Stack.Admin.Url, token);
        foreach (var request in requests.Split('|').Select(text => text.Split(' ')))
        {
            // The request has no body, since Admin checks the role before it reads one.
            using var content = request[0] == "GET" ? null : Content(request[1]);
            var answer = Refusal.AssertIs(403, "forbidden", await manager.SendAsync(new HttpMethod(request[0]), request[1], content));
            Assert.Contains($"the role {needed};", answer.Text);
        }
    }

    [Theory]
    [InlineData(Manager.ViewerToken, "/api/v1/sales /api/v1/orders /api/v1/audit /api/v1/dead-letters")]
    [InlineData(Manager.ManagerToken, "/api/v1/sales /api/v1/orders /api/v1/audit /api/v1/dead-letters")]
    public async Task Every_role_may_look(string token, string paths)
    {
        using var manager = new Manager(() => Stack.Admin.Url, token);
        foreach (var path in paths.Split(' ')) Manager.Expect(200, await manager.GetAsync(path));
    }

    [Fact]
    public async Task The_document_has_every_route_with_its_role_and_the_bearer_scheme()
    {
        var document = (await Stack.Manager.GetAsync(Document)).Json;
        Assert.Equal("bearer", document.GetProperty("components").GetProperty("securitySchemes").GetProperty("bearer").GetProperty("scheme").GetString());
        var operations = document.GetProperty("paths").EnumerateObject().SelectMany(path => path.Value.EnumerateObject().Select(operation => (Route: $"{operation.Name.ToUpperInvariant()} {path.Name}", Operation: operation.Value))).ToArray();
        Assert.All(operations, operation => Assert.Matches("Role: (viewer|manager|operator)\\.$", operation.Operation.GetProperty("description").GetString()));
        var names = operations.Select(operation => operation.Operation.GetProperty("operationId").GetString()!).ToArray();
        Assert.All(names, name => Assert.Matches("^[a-z][A-Za-z0-9]+$", name));
        Assert.Equal(names.Length, names.Distinct(StringComparer.OrdinalIgnoreCase).Count());
        Assert.DoesNotContain("\"default\":{\"", document.GetProperty("components").GetProperty("schemas").ToString(), StringComparison.Ordinal);
        Assert.True(Parameter("POST /api/v1/sales/{saleId}/items/{sku}/stock", "Idempotency-Key").GetProperty("required").GetBoolean());
        Assert.Equal("header", Parameter("PUT /api/v1/sales/{saleId}", "If-Match").GetProperty("in").GetString());

        System.Text.Json.JsonElement Parameter(string route, string name) => operations.Single(operation => operation.Route == route).Operation
            .GetProperty("parameters").EnumerateArray().Single(parameter => parameter.GetProperty("name").GetString() == name);
        string[] routes =
        [
            "POST /api/v1/sales", "GET /api/v1/sales", "GET /api/v1/sales/{saleId}", "PUT /api/v1/sales/{saleId}", "DELETE /api/v1/sales/{saleId}", "POST /api/v1/sales/{saleId}/window", "POST /api/v1/sales/{saleId}/items:import",
            "POST /api/v1/sales/{saleId}/preload", "POST /api/v1/sales/{saleId}/open", "POST /api/v1/sales/{saleId}/pause", "POST /api/v1/sales/{saleId}/resume",
            "POST /api/v1/sales/{saleId}/close", "POST /api/v1/sales/{saleId}/rebuild", "POST /api/v1/sales/{saleId}/items/{sku}/stock", "GET /api/v1/sales/{saleId}/stats",
            "GET /api/v1/sales/{saleId}/ledger", "GET /api/v1/sales/{saleId}/orders.csv", "GET /api/v1/orders", "GET /api/v1/audit", "GET /api/v1/audit/{id}", "GET /api/v1/dead-letters",
            "GET /api/v1/orders/{orderId}", "POST /api/v1/orders/{orderId}/cancel", "POST /api/v1/orders/{orderId}/refund", "GET /api/v1/payments",
            "POST /api/v1/dead-letters/{id}/retry", "POST /api/v1/dead-letters/{id}/reject",
            "GET /api/v1/ops/blocklist", "POST /api/v1/ops/blocklist", "DELETE /api/v1/ops/blocklist/{kind}/{value}", "POST /api/v1/ops/blocklist:import",
        ];
        Assert.Empty(routes.Except(operations.Select(operation => operation.Route)));
    }

    [Fact]
    public async Task Unknown_paths_and_methods_are_problems()
    {
        Refusal.AssertIs(404, "not_found", await Stack.Manager.GetAsync("/api/v1/nothing"));
        Refusal.AssertIs(405, "method_not_allowed", await Stack.Manager.SendAsync(HttpMethod.Delete, "/api/v1/sales"));
    }

    private static ByteArrayContent Content(string path) =>
        new([]) { Headers = { ContentType = new(path.EndsWith(":import", StringComparison.Ordinal) ? "text/csv" : "application/json") } };
}

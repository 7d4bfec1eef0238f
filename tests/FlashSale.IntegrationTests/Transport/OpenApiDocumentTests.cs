using System.Text.Json;
using System.Text.RegularExpressions;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Transport;

/// <summary>
/// The OpenAPI documents describe requests and answers of the hosts in terms that generators of clients understand.
/// </summary>
[Collection<OnOneOfEach>]
public sealed partial class OpenApiDocumentTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    [Fact]
    public async Task Every_operation_has_a_name_and_every_error_is_a_problem()
    {
        foreach (var document in (JsonElement[])[await DocumentAsync(Stack.Api), await DocumentAsync(Stack.Admin)])
        {
            Assert.Equal(["type", "title", "status", "code", "traceId"], Texts(document.GetProperty("components").GetProperty("schemas").GetProperty("Problem").GetProperty("required")));
            var operations = document.GetProperty("paths").EnumerateObject().SelectMany(path => path.Value.EnumerateObject(), (path, operation) => (path.Name, operation.Value)).ToList();
            var names = operations.Select(operation => operation.Value.GetProperty("operationId").GetString()!).ToList();
            Assert.All(names, name => Assert.Matches("^[a-z][A-Za-z]+$", name));
            Assert.Equal(names.Count, names.Distinct(StringComparer.Ordinal).Count());
            foreach (var (path, operation) in operations)
            {
                var errors = operation.GetProperty("responses").EnumerateObject().Where(response => response.Name == "default" || response.Name[0] >= '4').ToList();
                Assert.True(errors.Count > 0, path);
                Assert.All(errors, error =>
                {
                    Assert.Equal("#/components/schemas/Problem", error.Value.GetProperty("content").GetProperty("application/problem+json").GetProperty("schema").GetProperty("$ref").GetString());
                    if (error.Name is "429" or "503") Assert.Equal("integer", error.Value.GetProperty("headers").GetProperty("Retry-After").GetProperty("schema").GetProperty("type").GetString());
                });
            }
            Assert.DoesNotMatch(NumberOrText(), document.GetRawText());
        }
    }

    [Fact]
    public async Task What_handlers_read_themselves_is_in_the_document()
    {
        var document = await DocumentAsync(Stack.Api);
        Assert.Equal(["limit", "cursor"], Parameters(document, "/api/v1/orders", "get"));
        Assert.Equal(["saleId", "Idempotency-Key", "Purchase-Ticket"], Parameters(document, "/api/v1/sales/{saleId}/orders", "post"));
        Assert.Equal(["saleId", "If-None-Match"], Parameters(document, "/api/v1/sales/{saleId}", "get"));
        Assert.Equal(["orderId", "Last-Event-ID"], Parameters(document, "/api/v1/orders/{orderId}/events", "get"));
        Assert.Equal(["webhook-id", "webhook-timestamp", "webhook-signature"], Parameters(document, "/api/v1/payments/webhook", "post"));
        Assert.True(Operation(document, "/api/v1/sales", "get").GetProperty("responses").TryGetProperty("304", out _));
        Assert.Equal(["Location", "Idempotency-Replayed"],
            Operation(document, "/api/v1/sales/{saleId}/orders", "post").GetProperty("responses").GetProperty("202").GetProperty("headers").EnumerateObject().Select(header => header.Name));
        foreach (var (path, method) in ((string, string)[])[("/api/v1/sales", "get"), ("/api/v1/sales/{saleId}", "get"), ("/api/v1/payments/webhook", "post")])
            Assert.False(Operation(document, path, method).TryGetProperty("security", out _));
        Assert.True(Operation(document, "/api/v1/sales/{saleId}/orders", "post").TryGetProperty("security", out _));
    }

    [Fact]
    public async Task Answers_have_the_members_and_types_that_the_document_says()
    {
        var document = await DocumentAsync(Stack.Api);
        var sale = await Stack.OpenSaleAsync([new ItemDraft("phone-1", 10, 2), new ItemDraft("case-1", 10, 2)]);
        var shopper = Stack.Shopper("reader");
        Matches("/api/v1/sales", "get", await shopper.GetAsync("/api/v1/sales"));
        Matches("/api/v1/sales/{saleId}", "get", await shopper.GetAsync($"/api/v1/sales/{sale.Id}"));
        Matches("/api/v1/sales/{saleId}", "get", await shopper.GetAsync("/api/v1/sales/none"));
        var bought = await shopper.BuyAsync(sale);
        Matches("/api/v1/sales/{saleId}/orders", "post", bought);
        Matches("/api/v1/sales/{saleId}/orders", "post", await shopper.PurchaseAsync(sale.Id, """{"sku":"phone-1","quantity":"1"}""", "quoted"));
        Matches("/api/v1/orders/{orderId}", "get", await shopper.OrderAsync(bought.OrderId));
        await Books.CheckAsync(Stack, sale);
        Matches("/api/v1/orders/{orderId}", "get", await shopper.OrderAsync(bought.OrderId));
        Matches("/api/v1/orders", "get", await shopper.MyOrdersAsync());
        Matches("/api/v1/orders/{orderId}/cancel", "post", await shopper.CancelAsync(bought.OrderId));

        void Matches(string path, string method, Answer answer)
        {
            var response = Operation(document, path, method).GetProperty("responses").GetProperty(answer.Status.ToString(System.Globalization.CultureInfo.InvariantCulture));
            var content = response.GetProperty("content").EnumerateObject().Single();
            Assert.Equal(content.Name, answer.Header("content-type")?.Split(';')[0]);
            AssertIs(document, content.Value.GetProperty("schema"), answer.Json, $"{method} {path}");
        }
    }

    [Fact]
    public async Task People_read_it_on_a_page_that_loads_nothing_from_elsewhere()
    {
        foreach (var host in (HostProcess[])[Stack.Api, Stack.Admin])
        {
            using var http = new HttpClient { BaseAddress = host.Url };
            using var page = await http.GetAsync(new Uri("/docs/index.html", UriKind.Relative));
            Assert.Equal(200, (int)page.StatusCode);
            Assert.StartsWith("default-src 'self'; ", page.Headers.GetValues("Content-Security-Policy").Single(), StringComparison.Ordinal);
            var text = await page.Content.ReadAsStringAsync();
            Assert.DoesNotMatch("(src|href)=\"(https?:)?//", text);
            Assert.DoesNotMatch("<script>|<style>", text);
            foreach (Match part in Regex.Matches(text, "(?:src|href)=\"\\.?/?([^\"]+\\.(?:js|css))\""))
            {
                using var answer = await http.GetAsync(new Uri($"/docs/{part.Groups[1].Value}", UriKind.Relative));
                Assert.Equal(200, (int)answer.StatusCode);
            }
        }
    }

    // Checks that a value has the type of its schema, all required members and no unknown ones.
    private static void AssertIs(JsonElement document, JsonElement schema, JsonElement value, string where)
    {
        if (schema.TryGetProperty("$ref", out var reference)) schema = document.GetProperty("components").GetProperty("schemas").GetProperty(reference.GetString()!.Split('/')[^1]);
        if (schema.TryGetProperty("oneOf", out var choices))
        {
            if (value.ValueKind is JsonValueKind.Null) return;
            AssertIs(document, choices.EnumerateArray().Single(choice => choice.TryGetProperty("$ref", out _)), value, where);
            return;
        }
        var types = schema.GetProperty("type") is { ValueKind: JsonValueKind.Array } several ? Texts(several) : [schema.GetProperty("type").GetString()!];
        var type = value.ValueKind switch
        {
            JsonValueKind.Object => "object",
            JsonValueKind.Array => "array",
            JsonValueKind.String => "string",
            JsonValueKind.Null => "null",
            JsonValueKind.True or JsonValueKind.False => "boolean",
            _ => value.TryGetInt64(out _) ? "integer" : "number",
        };
        Assert.True(types.Contains(type), $"{where} is {type}, not {string.Join(" or ", types)}");
        if (schema.TryGetProperty("enum", out var words) && type == "string") Assert.Contains(value.GetString(), Texts(words));
        if (type == "array") Assert.All(value.EnumerateArray(), item => AssertIs(document, schema.GetProperty("items"), item, $"{where}[]"));
        if (type != "object" || !schema.TryGetProperty("properties", out var members)) return;
        if (schema.TryGetProperty("required", out var required)) Assert.All(Texts(required), name => Assert.True(value.TryGetProperty(name, out _), $"{where} has no {name}"));
        foreach (var member in value.EnumerateObject())
        {
            Assert.True(members.TryGetProperty(member.Name, out var known), $"{where} has a member {member.Name}");
            AssertIs(document, known, member.Value, $"{where}.{member.Name}");
        }
    }

    private static string[] Texts(JsonElement array) => [.. array.EnumerateArray().Select(text => text.GetString()!)];

    private static JsonElement Operation(JsonElement document, string path, string method) => document.GetProperty("paths").GetProperty(path).GetProperty(method);

    private static IEnumerable<string> Parameters(JsonElement document, string path, string method) =>
        Operation(document, path, method).GetProperty("parameters").EnumerateArray().Select(parameter => parameter.GetProperty("name").GetString()!);

    private static async Task<JsonElement> DocumentAsync(HostProcess host)
    {
        using var http = new HttpClient();
        return JsonDocument.Parse(await http.GetStringAsync(new Uri(host.Url, "/openapi/v1.json"))).RootElement;
    }

    [GeneratedRegex("\"type\":\\s*\\[[^\\]]*\"(integer|number)\"[^\\]]*\"string\"|\"type\":\\s*\\[[^\\]]*\"string\"[^\\]]*\"(integer|number)\"")]
    private static partial Regex NumberOrText();
}

using System.Text;
using Dapper;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Purchase;

/// <summary>Each bad input gets a problem with a stable code, never a 500, and nothing is written.</summary>
public sealed class BadInputTests(BadInputTests.OpenSale fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<BadInputTests.OpenSale>
{
    private const string Good = """{"sku":"phone-1","quantity":1}""";

    private static readonly Dictionary<string, (string Body, string Type)> Bodies = new(StringComparer.Ordinal)
    {
        ["quantity 0"] = Json("""{"sku":"phone-1","quantity":0}"""),
        ["quantity -1"] = Json("""{"sku":"phone-1","quantity":-1}"""),
        ["quantity 1.5"] = Json("""{"sku":"phone-1","quantity":1.5}"""),
        ["quantity 1001"] = Json("""{"sku":"phone-1","quantity":1001}"""),
        ["quantity 1e9"] = Json("""{"sku":"phone-1","quantity":1e9}"""),
        ["quantity 1000000000"] = Json("""{"sku":"phone-1","quantity":1000000000}"""),
        ["quantity 2^31"] = Json("""{"sku":"phone-1","quantity":2147483648}"""),
        ["quantity 2^53+1"] = Json("""{"sku":"phone-1","quantity":9007199254740993}"""),
        ["quantity 2^64+1"] = Json("""{"sku":"phone-1","quantity":18446744073709551617}"""),
        ["quantity of 300 digits"] = Json($$"""{"sku":"phone-1","quantity":{{new string('1', 300)}}}"""),
        ["quantity as text"] = Json("""{"sku":"phone-1","quantity":"1"}"""),
        ["quantity null"] = Json("""{"sku":"phone-1","quantity":null}"""),
        ["quantity true"] = Json("""{"sku":"phone-1","quantity":true}"""),
        ["quantity a list"] = Json("""{"sku":"phone-1","quantity":[1]}"""),
        ["quantity an object"] = Json("""{"sku":"phone-1","quantity":{}}"""),
        ["quantity missing"] = Json("""{"sku":"phone-1"}"""),
        ["quantity NaN"] = Json("""{"sku":"phone-1","quantity":NaN}"""),
        ["sku missing"] = Json("""{"quantity":1}"""),
        ["sku null"] = Json("""{"sku":null,"quantity":1}"""),
        ["sku a number"] = Json("""{"sku":1,"quantity":1}"""),
        ["sku empty"] = Json("""{"sku":"","quantity":1}"""),
        ["sku of 65 characters"] = Json($$"""{"sku":"{{new string('s', 65)}}","quantity":1}"""),
        ["sku with a separator"] = Json("""{"sku":"a|b","quantity":1}"""),
        ["sku with a space"] = Json("""{"sku":"a b","quantity":1}"""),
        ["sku with a NUL"] = Json("""{"sku":"a\u0000","quantity":1}"""),
        ["sku in Chinese"] = Json("""{"sku":"手机","quantity":1}"""),
        ["sku with half a surrogate"] = Json("""{"sku":"\ud800","quantity":1}"""),
        ["an unknown member"] = Json("""{"sku":"phone-1","quantity":1,"price":1}"""),
        ["an unknown member that nests"] = Json("""{"sku":"phone-1","quantity":1,"x":{"y":[1,2]}}"""),
        ["an unknown member named as a line"] = Json("""{"sku":"phone-1","quantity":1,"line x":1}"""),
        ["an unknown member named as a numbered line"] = Json("""{"sku":"phone-1","quantity":1,"line 7":1}"""),
        ["sku twice"] = Json("""{"sku":"phone-1","sku":"phone-1","quantity":1}"""),
        ["quantity twice"] = Json("""{"sku":"phone-1","quantity":1,"quantity":1}"""),
        ["other case"] = Json("""{"Sku":"phone-1","Quantity":1}"""),
        ["nothing"] = Json(""),
        ["blanks"] = Json("   "),
        ["null"] = Json("null"),
        ["a list"] = Json($"[{Good}]"),
        ["text"] = Json("\"phone-1\""),
        ["an empty object"] = Json("{}"),
        ["cut short"] = Json("""{"sku":"phone-1","quan"""),
        ["text behind the object"] = Json(Good + " x"),
        ["two objects"] = Json(Good + Good),
        ["a trailing comma"] = Json("""{"sku":"phone-1","quantity":1,}"""),
        ["a comment"] = Json("""{"sku":"phone-1",/* one */"quantity":1}"""),
        ["single quotes"] = Json("""{'sku':'phone-1','quantity':1}"""),
        ["deep lists"] = Json($$"""{"sku":"phone-1","quantity":{{new string('[', 3_000)}}{{new string(']', 3_000)}}}"""),
        ["deep objects"] = Json(string.Concat(Enumerable.Repeat("""{"a":""", 1_000)) + "1" + new string('}', 1_000)),
        ["XML"] = ("<order/>", "application/xml"),
        ["plain text"] = (Good, "text/plain"),
        ["a form"] = ("sku=phone-1&quantity=1", "application/x-www-form-urlencoded"),
        ["no content type"] = (Good, ""),
        ["a content type that is none"] = (Good, "json"),
        ["9 KB"] = Json($$"""{"sku":"phone-1","quantity":1,"x":"{{new string('x', 9 * 1024)}}"}"""),
        ["9 KB of blanks"] = Json(Good + new string(' ', 9 * 1024)),
        ["1 MB"] = Json(new string('{', 1024 * 1024)),
    };

    private static readonly Dictionary<string, string?> Keys = new(StringComparer.Ordinal)
    {
        ["missing"] = null,
        ["empty"] = "",
        ["blank"] = "   ",
        ["256 characters"] = new string('k', 256),
        ["8,000 characters"] = new string('k', 8_000),
        ["a blank inside"] = "a b",
        ["a tab inside"] = "a\tb",
        ["a control character"] = "a\u0001b",
        ["DEL"] = "a\u007fb",
        ["an accent"] = "clé",
        ["Chinese"] = "钥匙",
        ["empty quotes"] = "\"\"",
        ["an open quote"] = "\"abc",
    };

    private static readonly string[] Ids =
    [
        "%00", "a%00b", "%0a", "%0d%0aX-Evil:%201", "%ff%fe", "%", "%zz", "%2e%2e", "..%2f..", "%2F", "%5C", "a%20b", "%7Bx%7D", "%7C", "*", "'%20or%201=1--",
        "%E6%8A%A2%E8%B4%AD", "%F0%9F%92%A5", "%ED%A0%80", "-1", "0", "null", "fs:catalog", "{0}",
    ];

    public static TheoryData<string> BodyCases => [.. Bodies.Keys];

    public static TheoryData<string> KeyCases => [.. Keys.Keys];

    public static TheoryData<string> IdCases => [.. Ids, new string('a', 5_000)];

    private Sale Sale => ((OpenSale)fixture).Sale;

    [Theory]
    [MemberData(nameof(BodyCases))]
    public async Task A_bad_body_is_refused(string name)
    {
        var (body, type) = Bodies[name];
        var answer = await NothingIsWrittenBy(shopper => shopper.SendAsync(HttpMethod.Post, Sale.OrdersPath, Encoding.UTF8.GetBytes(body), "k", type));
        var (status, code) = name switch
        {
            "9 KB" or "9 KB of blanks" or "1 MB" => (413, "body_too_large"),
            "XML" or "plain text" or "a form" or "no content type" or "a content type that is none" => (415, "unsupported_media_type"),
            _ => (400, "invalid_request"),
        };
        Refusal.AssertIs(status, code, answer);
        if (status == 400) Assert.True(answer.Json.GetProperty("errors").GetArrayLength() > 0, answer.Text);
    }

    [Fact]
    public async Task A_body_in_invalid_utf8_is_refused()
    {
        byte[] body = [.. """{"sku":"phone"""u8, 0xC3, 0x28, .. "\",\"quantity\":1}"u8];
        Refusal.AssertIs(400, "invalid_request", await NothingIsWrittenBy(shopper => shopper.SendAsync(HttpMethod.Post, Sale.OrdersPath, body, "k", "application/json")));
    }

    [Fact]
    public async Task A_large_body_without_a_length_is_refused()
    {
        var answer = await NothingIsWrittenBy(_ => RawHttp.SendAsync(Stack.Api.Port,
            $"POST {Sale.OrdersPath} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {Tokens.For("nobody")}\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\n"
            + $"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2800\r\n{new string('{', 0x2800)}\r\n0\r\n\r\n"));
        Refusal.AssertIs(413, "body_too_large", answer);
    }

    [Theory]
    [MemberData(nameof(KeyCases))]
    public async Task A_bad_key_is_refused(string name)
    {
        var header = Keys[name] is { } key ? $"Idempotency-Key: {key}\r\n" : "";
        var answer = await NothingIsWrittenBy(_ => RawHttp.PostAsync(Stack.Api.Port, Sale.OrdersPath, header, Good));
        var missing = name is "missing" or "empty" or "blank";
        Refusal.AssertIs(400, missing ? "idempotency_key_missing" : "invalid_request", answer);
    }

    [Fact]
    public async Task Two_keys_are_refused()
    {
        var answer = await NothingIsWrittenBy(_ => RawHttp.PostAsync(Stack.Api.Port, Sale.OrdersPath, "Idempotency-Key: a\r\nIdempotency-Key: b\r\n", Good));
        Refusal.AssertIs(400, "invalid_request", answer);
    }

    [Theory]
    [MemberData(nameof(IdCases))]
    public async Task An_id_of_any_shape_in_the_path_is_refused(string id)
    {
        foreach (var (method, path) in ((string, string)[])[("POST", $"/api/v1/sales/{id}/orders"), ("GET", $"/api/v1/sales/{id}"), ("GET", $"/api/v1/orders/{id}"), ("GET", $"/api/v1/orders/{id}/events")])
        {
            var answer = await NothingIsWrittenBy(_ => RawHttp.SendAsync(Stack.Api.Port, RawHttp.Request(method, path, "Idempotency-Key: k\r\n", method == "POST" ? Good : null)));
            Assert.True(answer.Status is >= 400 and < 500, $"{method} {path}: {answer}");
            Assert.True(answer.Code is not null, $"{method} {path} is refused without a problem: {answer}");
            Assert.DoesNotContain("x-evil", answer.Headers.Keys);
        }
    }

    [Theory]
    [InlineData("limit=0")]
    [InlineData("limit=-1")]
    [InlineData("limit=x")]
    [InlineData("cursor=%00")]
    [InlineData("cursor=not-a-cursor")]
    [InlineData("cursor='%20or%201=1")]
    public async Task A_bad_query_of_my_orders_is_refused(string query) =>
        Refusal.AssertIs(400, "invalid_request", await NothingIsWrittenBy(shopper => shopper.MyOrdersAsync($"?{query}")));

    [Fact]
    public async Task A_good_purchase_beside_all_these_does_write()
    {
        var before = await StateAsync();
        Assert.Equal(202, (await Stack.Shopper("buyer").SendAsync(HttpMethod.Post, Sale.OrdersPath, Encoding.UTF8.GetBytes(Good), "k", "application/json; charset=utf-8")).Status);
        Assert.NotEqual(before, await StateAsync());
        await Books.RestAsync(Stack, Sale, TimeSpan.FromSeconds(20));
    }

    private static (string, string) Json(string body) => (body, "application/json");

    private async Task<Answer> NothingIsWrittenBy(Func<Shopper, Task<Answer>> request)
    {
        var before = await StateAsync();
        var answer = await request(Stack.Shopper("nobody"));
        Assert.Equal(before, await StateAsync());
        return answer;
    }

    private async Task<string> StateAsync()
    {
        var redis = string.Join('\n', await Stack.Redis.DigestAsync(Sale.RedisPrefix));
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        var rows = await connection.ExecuteScalarAsync<string>(
            "select format('%s %s %s %s', (select count(*) from orders), (select count(*) from user_quota), (select sum(sold) from sale_item), (select count(*) from dead_letter))");
        return $"{redis}\n{rows}";
    }

    /// <summary>One open sale that all cases send their requests to.</summary>
    public sealed class OpenSale() : StackFixture(new StackOptions())
    {
        public Sale Sale { get; private set; } = null!;

        public override async ValueTask InitializeAsync()
        {
            await base.InitializeAsync();
            Sale = await Stack.OpenSaleAsync(stock: 1_000, perUserLimit: 1_000);
        }
    }
}

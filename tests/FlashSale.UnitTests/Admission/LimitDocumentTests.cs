using System.Text;
using FlashSale.Admission;
using FlashSale.Platform;

namespace FlashSale.UnitTests.Admission;

/// <summary>
/// Documents that operators write are read as a whole, or refused as a whole with the line and the correct form.
/// </summary>
public sealed class LimitDocumentTests
{
    private const string Good = """
        {
          "rules": [
            { "name": "a", "match": { "method": "POST", "path": "/api/v1/sales/{saleId}/orders" }, "partition": "ip", "scope": "cluster",
              "capacity": 100, "refillPerSecond": 0.5, "cost": 2, "onStoreFailure": "deny", "monitorOnly": true,
              "penalty": { "rejections": 5, "withinSeconds": 10, "blockSeconds": 60 } },
            { "name": "b", "match": { "path": "/**" }, "partition": "global", "scope": "node", "capacity": 1, "refillPerSecond": 1 }
          ],
          "allow": { "cidrs": ["10.0.0.0/8", "2001:db8::/32"], "users": ["vip"], "clients": ["partner"] }
        }
        """;

    [Fact]
    public void A_document_is_read_with_all_its_members()
    {
        var (document, errors) = Parse(Good);
        Assert.Empty(errors);
        Assert.Equal(new LimitRule("a", "POST", "/api/v1/sales/{saleId}/orders", LimitPartition.Ip, LimitScope.Cluster, 100, 0.5, 2, StoreFailure.Deny, true, new PenaltyBox(5, 10, 60)), document.Rules[0]);
        Assert.Equal(new LimitRule("b", "*", "/**", LimitPartition.Global, LimitScope.Node, 1, 1, 1, StoreFailure.Local, false, null), document.Rules[1]);
        Assert.Equal((2, "vip", "partner"), (document.Networks.Count, document.Users[0], document.Clients[0]));
    }

    [Fact]
    public void The_default_document_is_good() => Assert.Empty(Parse(LimitDocument.DefaultJson).Errors);

    [Theory]
    [InlineData("\"capacity\": 100", "\"capacity\": 0", 4, "rules[0].capacity must be an integer from 1 to 1000000")]
    [InlineData("\"capacity\": 100", "\"capacity\": 1.5", 4, "rules[0].capacity must be an integer from 1 to 1000000")]
    [InlineData("\"capacity\": 100", "\"capacity\": \"100\"", 4, "rules[0].capacity must be an integer from 1 to 1000000")]
    [InlineData("\"capacity\": 100", "\"capacity\": 1", 4, "rules[0].cost must not be above the capacity: no request would ever pass")]
    [InlineData("\"refillPerSecond\": 0.5", "\"refillPerSecond\": 0", 4, "rules[0].refillPerSecond must be a number from 0.001 to 1000000")]
    [InlineData("\"refillPerSecond\": 0.5", "\"refillPerSecond\": 1e999", 4, "rules[0].refillPerSecond must be a number from 0.001 to 1000000")]
    [InlineData("\"partition\": \"ip\"", "\"partition\": \"session\"", 3, "rules[0].partition must be one of ip, user, client, global")]
    [InlineData("\"scope\": \"cluster\"", "\"scope\": null", 3, "rules[0].scope is required")]
    [InlineData("\"method\": \"POST\"", "\"method\": \"post\"", 3, "rules[0].match.method must be an HTTP method in capital letters, or *")]
    [InlineData("/{saleId}/orders", "/{saleId/orders", 3, "rules[0].match.path must be a path")]
    [InlineData("\"name\": \"b\"", "\"name\": \"a\"", 6, "rules[1].name is the name of an earlier rule, too")]
    [InlineData("\"monitorOnly\": true", "\"monitorOnly\": 1", 4, "rules[0].monitorOnly must be true or false")]
    [InlineData("\"monitorOnly\"", "\"monitor\"", 4, "rules[0].monitor is not known")]
    [InlineData("\"blockSeconds\": 60", "\"blockSeconds\": 0", 5, "rules[0].penalty.blockSeconds must be an integer from 1 to 86400")]
    [InlineData("10.0.0.0/8", "10.0.0.0/33", 8, "allow.cidrs[0] must be a network")]
    [InlineData("\"partner\"", "7", 8, "allow.clients[0] must be a client id")]
    [InlineData("\"partner\"", "\"a\\u0000\"", 8, "allow.clients[0] must not contain the character U+0000")]
    [InlineData("\"vip\"", "\"a\\u0000\"", 8, "allow.users[0] must not contain the character U+0000")]
    [InlineData("\"vip\"", "\"a\\ud800\"", 1, "is not valid JSON here")]
    [InlineData("\"/**\"", "\"/a\\u0000\"", 6, "rules[1].match.path must not contain the character U+0000")]
    [InlineData("\"refillPerSecond\": 0.5", "\"refillPerSecond\": 0.50000000000000000000000000000000001", 4, "must be written in at most 32 characters")]
    [InlineData("\"cost\": 2,", "\"cost\": 2 ", 4, "is not valid JSON here")]
    [InlineData("\"cost\": 2,", "\"cost\": 2, \"cost\": 3,", 4, "rules[0].cost is there twice")]
    public void What_is_wrong_is_told_by_line_and_place(string right, string wrong, int line, string message)
    {
        Assert.Contains(right, Good, StringComparison.Ordinal);
        var errors = Parse(Good.Replace(right, wrong, StringComparison.Ordinal)).Errors;
        Assert.Contains(errors, error => error.Line == line && error.Message.Contains(message, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("{} {}")]
    [InlineData("\"\\ud800\"")]
    [InlineData("{\"rules\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}")]
    [InlineData("{}")]
    public void What_is_no_document_at_all_is_refused(string json) => Assert.NotEmpty(Parse(json).Errors);

    [Fact]
    public void More_rules_than_a_request_can_afford_are_refused()
    {
        var rule = "{\"name\":\"r%\",\"match\":{\"path\":\"/\"},\"partition\":\"ip\",\"scope\":\"node\",\"capacity\":1,\"refillPerSecond\":1}";
        var rules = string.Join(',', Enumerable.Range(0, LimitDocument.MaxRules + 1).Select(i => rule.Replace("%", $"{i}", StringComparison.Ordinal)));
        Assert.Contains(Parse($"{{\"rules\":[{rules}]}}").Errors, error => error.Message.Contains("at most 64", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("/api/v1/sales/{saleId}/orders", "/api/v1/sales/s1/orders", true)]
    [InlineData("/api/v1/sales/{saleId}/orders", "/API/v1/sales/S1/Orders/", true)]
    [InlineData("/api/v1/sales/*/orders", "/api/v1/sales/s1/orders", true)]
    [InlineData("/api/v1/sales/s1/orders", "/api/v1/sales/s2/orders", false)]
    [InlineData("/api/v1/sales/{saleId}", "/api/v1/sales/s1/orders", false)]
    [InlineData("/api/v1/sales/{saleId}/orders", "/api/v1/sales/s1", false)]
    [InlineData("/api/**", "/api", true)]
    [InlineData("/api/**", "/api/v1/anything", true)]
    [InlineData("/api/**", "/openapi/v1.json", false)]
    [InlineData("/**", "/", true)]
    [InlineData("/", "/", true)]
    [InlineData("/", "/a", false)]
    public void Patterns_match_as_routing_does(string pattern, string path, bool matches)
    {
        Assert.True(PathPattern.IsValid(pattern));
        Assert.Equal(matches, new PathPattern(pattern).Matches(path));
    }

    [Theory]
    [InlineData("")]
    [InlineData("api")]
    [InlineData("/a//b")]
    [InlineData("/**/b")]
    [InlineData("/a*")]
    [InlineData("/{}")]
    [InlineData("/a?b=c")]
    public void What_no_path_can_match_is_no_pattern(string pattern) => Assert.False(PathPattern.IsValid(pattern));

    private static (LimitDocument Document, List<ProblemError> Errors) Parse(string json)
    {
        var errors = new List<ProblemError>();
        return (LimitDocument.Parse(Encoding.UTF8.GetBytes(json), errors), errors);
    }
}

namespace FlashSale.Admission;

/// <summary>
/// What the shopper API takes, so that a limit for something else, a mistyped path above all, is refused instead of limiting nothing.
/// Nodes do not ask: a document may name a route that only newer nodes know.
/// </summary>
public static class ShopperRoutes
{
    /// <summary>What a rule must match, for a message.</summary>
    public const string Rule = "is no request of the shopper API, so that the rule would limit nothing; its paths are in that host's /openapi/v1.json";

    private static readonly (string Method, string Path)[] Known =
    [
        ("GET", "/api/v1/sales"),
        ("GET", "/api/v1/sales/{saleId}"),
        ("GET", "/api/v1/sales/{saleId}/events"),
        ("POST", "/api/v1/sales/{saleId}/orders"),
        ("POST", "/api/v1/sales/{saleId}/admission"),
        ("POST", "/api/v1/sales/{saleId}/line"),
        ("GET", "/api/v1/sales/{saleId}/line"),
        ("GET", "/api/v1/sales/{saleId}/line/draw"),
        ("GET", "/api/v1/orders"),
        ("GET", "/api/v1/orders/{orderId}"),
        ("GET", "/api/v1/orders/{orderId}/events"),
        ("POST", "/api/v1/orders/{orderId}/cancel"),
        ("POST", "/api/v1/orders/{orderId}/payment"),
        ("POST", "/api/v1/payments/webhook"),
        ("GET", "/openapi/v1.json"),
        ("GET", "/docs"),
        ("GET", "/docs/{page}"),
    ];

    /// <summary>Whether some request of the shopper API has that method (* for any) and a path of that pattern.</summary>
    public static bool CanMatch(string method, PathPattern pattern) => Known.Any(route =>
        (method is "*" or "OPTIONS" || method == route.Method || (method == "HEAD" && route.Method == "GET")) && pattern.Overlaps(route.Path));
}

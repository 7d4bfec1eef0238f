namespace FlashSale.Admission;

/// <summary>
/// The routes of the shopper API. A limit for another path, usually a mistyped one, would limit nothing. So it is
/// refused when an operator sets it and when a host reads it from its Limits:File. Nodes do not check published
/// documents, because one may name a route that only newer nodes know.
/// </summary>
public static class ShopperRoutes
{
    /// <summary>The end of an error text about the path of a rule.</summary>
    public const string Rule = "is no request of the shopper API, so that the rule would limit nothing; its paths are in that host's /openapi/v1.json";

    private static readonly (string Method, string Path)[] Known =
    [
        ("GET", "/api/v1/sales"),
        ("GET", "/api/v1/sales/{saleId}"),
        ("POST", "/api/v1/sales/{saleId}/orders"),
        ("POST", "/api/v1/sales/{saleId}/admission"),
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

    /// <summary>
    /// Whether the shopper API has a request with that method (* for any) and a path of that pattern.
    /// </summary>
    public static bool CanMatch(string method, PathPattern pattern) => Known.Any(route =>
        (method is "*" or "OPTIONS" || method == route.Method) && pattern.Overlaps(route.Path));
}

using System.Text;

namespace FlashSale.LoadTests.Targets;

/// <summary>Builds requests of shoppers, as the bytes that go over the wire.</summary>
public static class PurchaseRequest
{
    /// <summary>Builds a purchase.</summary>
    public static byte[] Of(Uri api, string path, string token, string key, string sku, int quantity)
    {
        var body = $"{{\"sku\":\"{sku}\",\"quantity\":{quantity}}}";
        return Encoding.ASCII.GetBytes(
            $"POST {path} HTTP/1.1\r\nHost: {api.Authority}\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: {key}\r\n\r\n{body}");
    }

    /// <summary>Builds a request without a body.</summary>
    /// <param name="api">Address of the host.</param>
    /// <param name="method">GET or POST.</param>
    /// <param name="path">Path with its query.</param>
    /// <param name="token">Null: the request has no Authorization field.</param>
    public static byte[] Plain(Uri api, string method, string path, string? token)
    {
        var length = method == "GET" ? "" : "Content-Length: 0\r\n";
        var authorization = token is null ? "" : $"Authorization: Bearer {token}\r\n";
        return Encoding.ASCII.GetBytes($"{method} {path} HTTP/1.1\r\nHost: {api.Authority}\r\n{length}{authorization}\r\n");
    }
}

using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace FlashSale.Api.Sales;

/// <summary>
/// JSON that lacks its server times, which each answer puts in. The ETag does not depend on them. The JSON is
/// compressed once, when first asked for.
/// </summary>
internal sealed class TimelessJson
{
    /// <summary>The shortest page that is worth compressing, in bytes.</summary>
    public const int MinCompressed = 8 * 1_024;

    // A slow reader holds no more memory than this and the buffers of its connection.
    private const int SliceBytes = 32 * 1_024;

    private readonly ReadOnlyMemory<byte>[] _parts;
    private readonly Lazy<SplicedGzip> _gzip;

    private TimelessJson(byte[] json)
    {
        _parts = [.. Split(json)];
        _gzip = new Lazy<SplicedGzip>(() => new SplicedGzip(_parts));
        Length = json.Length;
        ETag = $"W/\"{Convert.ToHexStringLower(SHA256.HashData(json).AsSpan(0, 12))}\"";
    }

    /// <summary>The weak ETag with its quotes.</summary>
    public string ETag { get; }

    /// <summary>Length without the server times, in bytes.</summary>
    public int Length { get; }

    /// <summary>Serializes a page. The server times in it must be empty.</summary>
    public static TimelessJson Of<T>(T page, JsonTypeInfo<T> type) => new(JsonSerializer.SerializeToUtf8Bytes(page, type));

    /// <summary>Writes the JSON with this server time.</summary>
    public Task WriteAsync(HttpResponse response, string serverTime, CancellationToken cancellation)
    {
        var time = Encoding.ASCII.GetBytes(serverTime);
        return SendAsync(response, Join(_parts, time), cancellation);
    }

    /// <summary>Writes the JSON as gzip with this server time.</summary>
    public Task WriteGzipAsync(HttpResponse response, string serverTime, CancellationToken cancellation)
    {
        response.Headers.ContentEncoding = "gzip";
        return SendAsync(response, _gzip.Value.With(Encoding.ASCII.GetBytes(serverTime)), cancellation);
    }

    private static IEnumerable<ReadOnlyMemory<byte>> Split(byte[] json)
    {
        // A name or sku cannot contain this text, because its quotes would be escaped.
        const string Missing = "\"serverTime\":\"\"";
        var missing = Encoding.ASCII.GetBytes(Missing);
        var begin = 0;
        for (int found; (found = json.AsSpan(begin).IndexOf(missing)) >= 0;)
        {
            var end = begin + found + missing.Length - 1;
            yield return json.AsMemory(begin..end);
            begin = end;
        }
        yield return json.AsMemory(begin..);
    }

    private static List<ReadOnlyMemory<byte>> Join(ReadOnlyMemory<byte>[] parts, byte[] between)
    {
        var joined = new List<ReadOnlyMemory<byte>>(2 * parts.Length) { parts[0] };
        foreach (var part in parts.AsSpan(1))
        {
            joined.Add(between);
            joined.Add(part);
        }
        return joined;
    }

    private static async Task SendAsync(HttpResponse response, List<ReadOnlyMemory<byte>> parts, CancellationToken cancellation)
    {
        response.ContentLength = parts.Sum(part => (long)part.Length);
        var unsent = 0;
        foreach (var whole in parts)
        {
            for (var part = whole; part.Length > 0;)
            {
                var slice = part[..Math.Min(part.Length, SliceBytes - unsent)];
                response.BodyWriter.Write(slice.Span);
                part = part[slice.Length..];
                unsent = (unsent + slice.Length) % SliceBytes;
                if (unsent == 0) await response.BodyWriter.FlushAsync(cancellation);
            }
        }
        await response.BodyWriter.FlushAsync(cancellation);
    }
}

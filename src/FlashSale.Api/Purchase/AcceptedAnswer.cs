using System.Buffers.Text;
using System.IO.Pipelines;
using System.Text;
using FlashSale.Api.Sales;
using FlashSale.Contracts;

namespace FlashSale.Api.Purchase;

/// <summary>
/// Writes the 202. A replay gets the same bytes, because all of them follow from the order, the item and the request.
/// </summary>
public static class AcceptedAnswer
{
    private const string StatusUrl = "/api/v1/orders/";

    // The purchases of a call are answered one after the other and were accepted in the same millisecond, so they share
    // this text.
    [ThreadStatic]
    private static (long Of, byte[] Text) _time;

    /// <summary>Writes status, headers and body, and flushes them.</summary>
    public static async Task WriteAsync(HttpContext context, ItemOnSale item, Guid orderId, int quantity, long acceptedAt, bool replayed)
    {
        var response = context.Response;
        response.StatusCode = StatusCodes.Status202Accepted;
        response.ContentType = "application/json";
        response.Headers.Location = string.Create(StatusUrl.Length + 36, orderId, static (text, id) =>
        {
            StatusUrl.CopyTo(text);
            id.TryFormat(text[StatusUrl.Length..], out _);
        });
        if (replayed) response.Headers["Idempotency-Replayed"] = "true";
        response.ContentLength = WriteBody(response.BodyWriter, item, orderId, quantity, acceptedAt);
        await response.BodyWriter.FlushAsync();
    }

    private static int WriteBody(PipeWriter writer, ItemOnSale item, Guid orderId, int quantity, long acceptedAt)
    {
        var body = writer.GetSpan(384 + item.AnswerHead.Length + item.AnswerTail.Length);
        var length = 0;
        Copy("{\"orderId\":\""u8, body, ref length);
        Id(orderId, body, ref length);
        Copy(item.AnswerHead, body, ref length);
        Number(quantity, body, ref length);
        Copy(",\"amount\":{\"amount\":"u8, body, ref length);
        Number(item.Published.Price * quantity, body, ref length);
        Copy(item.AnswerTail, body, ref length);
        Id(orderId, body, ref length);
        Copy("\",\"eventsUrl\":\"/api/v1/orders/"u8, body, ref length);
        Id(orderId, body, ref length);
        Copy("/events\",\"acceptedAt\":\""u8, body, ref length);
        Copy(TextOf(acceptedAt), body, ref length);
        Copy("\"}"u8, body, ref length);
        writer.Advance(length);
        return length;
    }

    private static byte[] TextOf(long acceptedAt)
    {
        if (_time.Text is null || _time.Of != acceptedAt) _time = (acceptedAt, Encoding.ASCII.GetBytes(Timestamps.Text(acceptedAt)));
        return _time.Text;
    }

    private static void Copy(ReadOnlySpan<byte> text, Span<byte> body, ref int length)
    {
        text.CopyTo(body[length..]);
        length += text.Length;
    }

    private static void Id(Guid id, Span<byte> body, ref int length)
    {
        Utf8Formatter.TryFormat(id, body[length..], out var written);
        length += written;
    }

    private static void Number(long number, Span<byte> body, ref int length)
    {
        Utf8Formatter.TryFormat(number, body[length..], out var written);
        length += written;
    }
}

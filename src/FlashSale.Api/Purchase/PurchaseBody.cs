using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using FlashSale.Platform;

namespace FlashSale.Api.Purchase;

/// <summary>The body of a purchase: <c>{"sku":"…","quantity":1}</c>, and no other members.</summary>
public static class PurchaseBody
{
    /// <summary>Largest body, in bytes.</summary>
    public const int MaxBytes = 8 * 1024;

    /// <summary>Longest sku, in characters.</summary>
    public const int MaxSku = 64;

    /// <summary>Most units of one purchase.</summary>
    public const int MaxQuantity = 1_000;

    private static readonly JsonReaderOptions Strict = new() { MaxDepth = 4 };

    /// <summary>
    /// Reads the whole body. Fits is false when it is larger than <see cref="MaxBytes"/>. When it fits the caller must
    /// advance the reader.
    /// </summary>
    public static async ValueTask<(bool Fits, ReadOnlySequence<byte> Body)> ReadAsync(PipeReader reader)
    {
        while (true)
        {
            // No cancellation token: an aborted request ends the read anyway, and asking for the token would create
            // one.
            var result = await reader.ReadAsync();
            if (result.Buffer.Length > MaxBytes)
            {
                reader.AdvanceTo(result.Buffer.Start, result.Buffer.End);
                return (false, default);
            }
            if (result.IsCompleted) return (true, result.Buffer);
            reader.AdvanceTo(result.Buffer.Start, result.Buffer.End);
        }
    }

    /// <summary>Reads sku and quantity. Returns null when both are right, else all errors.</summary>
    /// <param name="body">UTF-8 JSON, with or without a byte order mark.</param>
    /// <param name="sku">The buffer for the sku, <see cref="MaxSku"/> characters.</param>
    /// <param name="skuLength">Length of the sku in the buffer.</param>
    /// <param name="quantity">The quantity, 1 to <see cref="MaxQuantity"/>.</param>
    public static List<ProblemError>? Parse(in ReadOnlySequence<byte> body, Span<char> sku, out int skuLength, out int quantity)
    {
        skuLength = 0;
        quantity = 0;
        List<ProblemError>? errors = null;
        var (hasSku, hasQuantity) = (false, false);
        try
        {
            var json = new Utf8JsonReader(Utf8Text.WithoutMark(body), Strict);
            if (!json.Read() || json.TokenType is not JsonTokenType.StartObject) return [new("body", "must be a JSON object {\"sku\":\"…\",\"quantity\":1}")];
            while (json.Read() && json.TokenType is JsonTokenType.PropertyName)
            {
                if (json.ValueTextEquals("sku"u8))
                {
                    if (hasSku) Add(ref errors, "sku", "must be there once");
                    hasSku = true;
                    json.Read();
                    if (!TryReadSku(ref json, sku, out skuLength)) Add(ref errors, "sku", "must be a string of 1 to 64 of A-Z a-z 0-9 . _ -");
                }
                else if (json.ValueTextEquals("quantity"u8))
                {
                    if (hasQuantity) Add(ref errors, "quantity", "must be there once");
                    hasQuantity = true;
                    json.Read();
                    if (json.TokenType is not JsonTokenType.Number || !json.TryGetInt32(out quantity) || quantity is < 1 or > MaxQuantity)
                        Add(ref errors, "quantity", "must be an integer from 1 to 1000");
                }
                else
                {
                    Add(ref errors, NameOf(ref json), "is not a member of a purchase; known are sku and quantity");
                    json.Read();
                }
                json.Skip();
            }
            // Read to the end, so that the reader refuses trailing text.
            json.Read();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return [new("body", "is not valid JSON")];
        }
        if (!hasSku) Add(ref errors, "sku", "is required");
        if (!hasQuantity) Add(ref errors, "quantity", "is required");
        return errors;
    }

    /// <summary>Whether a text is a sku: 1 to 64 of A-Z a-z 0-9 . _ -</summary>
    public static bool IsSku(ReadOnlySpan<char> text) => text.Length is > 0 and <= MaxSku && !text.ContainsAnyExcept(SkuCharacters);

    private static readonly SearchValues<char> SkuCharacters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    private static bool TryReadSku(ref Utf8JsonReader json, Span<char> sku, out int length)
    {
        length = 0;
        if (json.TokenType is not JsonTokenType.String) return false;
        // Unescaping only makes a text shorter, so more than six bytes for each character cannot fit.
        var bytes = json.HasValueSequence ? json.ValueSequence.Length : json.ValueSpan.Length;
        if (bytes > MaxSku * 6) return false;
        Span<char> text = stackalloc char[MaxSku * 6];
        length = json.CopyString(text);
        if (!IsSku(text[..length])) return false;
        text[..length].CopyTo(sku);
        return true;
    }

    private static string NameOf(ref Utf8JsonReader json)
    {
        var name = json.GetString()!;
        return name.Length <= 64 ? name : name[..64];
    }

    private static void Add(ref List<ProblemError>? errors, string field, string message) => (errors ??= []).Add(new(field, message));
}

using System.Buffers.Text;
using System.Text;
using FlashSale.Platform;

namespace FlashSale.Admin.Http;

/// <summary>The requested part of a list: <c>?limit=&amp;cursor=</c>. Cursors are opaque to clients.</summary>
public sealed record Paging(int Limit, string? After)
{
    private const int DefaultLimit = 50;
    private const int MaxLimit = 500;

    /// <summary>Reads limit and cursor, and adds their errors.</summary>
    /// <param name="query">The query of the request.</param>
    /// <param name="errors">The list that takes the errors.</param>
    /// <param name="isKey">Whether a decoded cursor belongs to this list.</param>
    public static Paging Read(IQueryCollection query, FormErrors errors, Predicate<string> isKey)
    {
        var limit = DefaultLimit;
        if (query.TryGetValue("limit", out var limits) && (limits is not [{ Length: <= 4 } text] || !int.TryParse(text, System.Globalization.NumberStyles.None, null, out limit) || limit is < 1 or > MaxLimit))
            errors.Add("limit", $"must be an integer from 1 to {MaxLimit}");
        string? after = null;
        if (query.TryGetValue("cursor", out var cursors))
        {
            if (cursors is [{ Length: > 0 and <= 100 } cursor] && TryDecode(cursor, out var key) && isKey(key)) after = key;
            else errors.Add("cursor", "must be the nextCursor of an earlier answer");
        }
        return new Paging(limit, after);
    }

    /// <summary>Whether a decoded cursor is a positive number.</summary>
    public static bool IsNumber(string key) => long.TryParse(key, System.Globalization.NumberStyles.None, null, out var number) && number > 0;

    /// <summary>The number in the cursor. Null without a cursor.</summary>
    public long? AfterNumber => After is null ? null : long.Parse(After);

    /// <summary>
    /// Cuts a list that was read with one element more than the page holds. NextCursor is null on the last page.
    /// </summary>
    public (List<TPage> Page, string? NextCursor) Cut<T, TPage>(IReadOnlyList<T> read, Func<T, TPage> page, Func<T, object> key)
    {
        var shown = read.Take(Limit).ToList();
        var next = read.Count > Limit ? Base64Url.EncodeToString(Encoding.ASCII.GetBytes($"{key(shown[^1])}")) : null;
        return (shown.ConvertAll(element => page(element)), next);
    }

    private static bool TryDecode(string cursor, out string key)
    {
        Span<byte> bytes = stackalloc byte[100];
        key = "";
        if (!Base64Url.IsValid(cursor) || !Base64Url.TryDecodeFromChars(cursor, bytes, out var length)) return false;
        key = Encoding.ASCII.GetString(bytes[..length]);
        return true;
    }
}

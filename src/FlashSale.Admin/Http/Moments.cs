using FlashSale.Contracts;

namespace FlashSale.Admin.Http;

/// <summary>Times as Postgres gives them, in the contract's spelling.</summary>
public static class Moments
{
    /// <summary>Formats a UTC time.</summary>
    public static string Text(DateTime utc) => Timestamps.Text(new DateTimeOffset(utc));

    /// <summary>Formats a UTC time that may not have come.</summary>
    public static string? Text(DateTime? utc) => utc is { } at ? Text(at) : null;
}

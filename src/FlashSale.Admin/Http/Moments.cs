using FlashSale.Contracts;

namespace FlashSale.Admin.Http;

/// <summary>Formats times of Postgres in the form of the contract.</summary>
public static class Moments
{
    /// <summary>Formats a UTC time.</summary>
    public static string Text(DateTime utc) => Timestamps.Text(new DateTimeOffset(utc));

    /// <summary>Formats a UTC time that may be missing.</summary>
    public static string? Text(DateTime? utc) => utc is { } at ? Text(at) : null;
}

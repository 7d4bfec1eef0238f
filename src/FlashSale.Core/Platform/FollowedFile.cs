namespace FlashSale.Platform;

/// <summary>
/// A file that is followed while the host runs. It is compared by its text, which also sees a file that is replaced by a rename or
/// through a symbolic link, on file systems that announce nothing and keep the times of the original.
/// </summary>
/// <param name="path">Which.</param>
public sealed class FollowedFile(string path)
{
    /// <summary>How often a follower looks.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private string? _seen;

    /// <summary>Which.</summary>
    public string Path => path;

    /// <summary>Looks at the file.</summary>
    /// <returns>Its text, or why it cannot be read; both null when that is as it was at the last look.</returns>
    public async Task<(string? Text, string? Failure)> LookAsync(CancellationToken cancellation)
    {
        var (text, failure) = await ReadAsync(cancellation);
        if ((text ?? failure) == _seen) return default;
        _seen = text ?? failure;
        return (text, failure);
    }

    private async Task<(string? Text, string? Failure)> ReadAsync(CancellationToken cancellation)
    {
        try
        {
            return (await File.ReadAllTextAsync(path, cancellation), null);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return (null, e.Message);
        }
    }
}

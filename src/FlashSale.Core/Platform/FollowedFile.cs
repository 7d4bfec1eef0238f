namespace FlashSale.Platform;

/// <summary>
/// A file that the host reads again and again while it runs. Each look compares the text, because that also shows a
/// file that was replaced by a rename or through a symbolic link, on file systems that announce nothing and keep the
/// times of the original.
/// </summary>
/// <param name="path">Path of the file.</param>
public sealed class FollowedFile(string path)
{
    /// <summary>Time between two looks of a follower.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private string? _seen;

    /// <summary>Path of the file.</summary>
    public string Path => path;

    /// <summary>Looks at the file.</summary>
    /// <returns>The file's text, or the reason why it cannot be read. Both are null if that has not changed since the
    /// last look.</returns>
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

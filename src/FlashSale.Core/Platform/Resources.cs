namespace FlashSale.Platform;

/// <summary>The Lua and SQL files that are embedded in this assembly.</summary>
public static class Resources
{
    /// <summary>Reads a file by its folder and name, such as <c>Stock.reserve.lua</c>.</summary>
    /// <exception cref="InvalidOperationException">There is no such file.</exception>
    public static string Read(string name)
    {
        using var stream = typeof(Resources).Assembly.GetManifestResourceStream(name)
            ?? throw new InvalidOperationException($"{name} is not part of {typeof(Resources).Assembly.GetName().Name}.");
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    /// <summary>Names of all files under a folder, sorted.</summary>
    public static IReadOnlyList<string> Under(string folder) =>
        [.. typeof(Resources).Assembly.GetManifestResourceNames().Where(name => name.StartsWith(folder, StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
}

namespace FlashSale.Platform;

/// <summary>
/// The URL of a server, as libpq and AMQP have it:
/// <c>scheme://user:password@host:port,host:port/path?parameter=value</c>. A parameter that the host does not honour is
/// refused by its name. If one that demands TLS were dropped in silence, the connection would be in the clear. Messages
/// never show any part of the URL but its parameters.
/// </summary>
public sealed class ServerUrl
{
    private readonly string _setting;
    private readonly string _form;
    private readonly Dictionary<string, string> _parameters = new(StringComparer.Ordinal);

    private ServerUrl(string setting, string form) => (_setting, _form) = (setting, form);

    /// <summary>The text before <c>://</c>.</summary>
    public string Scheme { get; private set; } = "";

    /// <summary>The user, if one is named.</summary>
    public string? User { get; private set; }

    /// <summary>The user's password, if there is one.</summary>
    public string? Password { get; private set; }

    /// <summary>
    /// At least one host. IPv6 addresses are in brackets. A port is null if the URL does not name it.
    /// </summary>
    public IReadOnlyList<(string Name, int? Port)> Hosts { get; private set; } = [];

    /// <summary>The text after the slash behind the hosts, or empty.</summary>
    public string Path { get; private set; } = "";

    /// <summary>Reads a URL.</summary>
    /// <param name="setting">Name of the setting, for refusals.</param>
    /// <param name="form">The form that the URL must have, for refusals.</param>
    /// <param name="url">Value of the setting.</param>
    /// <param name="schemes">The allowed schemes.</param>
    /// <param name="known">Names of the parameters that are honoured.</param>
    /// <exception cref="InvalidSettingException">The text is not such a URL, or has an unknown parameter.</exception>
    public static ServerUrl Read(string setting, string form, string url, string[] schemes, string[] known)
    {
        var read = new ServerUrl(setting, form);
        var colon = url.IndexOf("://", StringComparison.Ordinal);
        if (colon < 0 || !schemes.Contains(url[..colon])) throw read.Malformed();
        read.Scheme = url[..colon];
        var rest = url[(colon + 3)..];
        var question = rest.IndexOf('?', StringComparison.Ordinal);
        if (question >= 0) read.ReadParameters(rest[(question + 1)..], known);
        if (question >= 0) rest = rest[..question];
        var slash = rest.IndexOf('/', StringComparison.Ordinal);
        if (slash >= 0) read.Path = read.Decode(rest[(slash + 1)..]);
        var authority = slash < 0 ? rest : rest[..slash];
        var at = authority.LastIndexOf('@');
        var user = at < 0 ? [] : authority[..at].Split(':', 2);
        if (user.Length > 0 && user[0].Length > 0) read.User = read.Decode(user[0]);
        if (user.Length > 1) read.Password = read.Decode(user[1]);
        read.Hosts = Array.ConvertAll(authority[(at + 1)..].Split(','), read.ReadHost);
        return read;
    }

    /// <summary>The value of a parameter, or null if it is not there.</summary>
    public string? Text(string parameter) => _parameters.GetValueOrDefault(parameter);

    /// <summary>The value of a parameter that takes only a few values.</summary>
    /// <exception cref="InvalidSettingException">The parameter has another value.</exception>
    public string? Choice(string parameter, params string[] allowed) =>
        Text(parameter) is not { } value ? null
        : allowed.Contains(value) ? value
        : throw Refusal($"'{parameter}={value}': allowed is {string.Join(", ", allowed)}.");

    /// <summary>The value of a parameter that is a whole number.</summary>
    /// <exception cref="InvalidSettingException">The value is not a whole number, or out of range.</exception>
    public int? Number(string parameter, int least, int most)
    {
        if (Text(parameter) is not { } text) return null;
        return int.TryParse(text, out var number) && number >= least && number <= most
            ? number
            : throw Refusal($"'{parameter}={text}': allowed is {least} to {most}.");
    }

    /// <summary>The value of a parameter that names a file.</summary>
    /// <exception cref="InvalidSettingException">There is no such file.</exception>
    public string? ExistingFile(string parameter) =>
        Text(parameter) is not { } path ? null
        : File.Exists(path) ? path
        : throw Refusal($"'{parameter}={path}': there is no such file.");

    /// <summary>Makes a refusal of this setting.</summary>
    public InvalidSettingException Refusal(string why) => new($"{_setting} = (hidden): {why}");

    /// <summary>Makes the refusal of a URL that does not have the required form.</summary>
    public InvalidSettingException Malformed() => Refusal($"must be {_form}.");

    private void ReadParameters(string query, string[] known)
    {
        foreach (var pair in query.Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = pair.Split('=', 2);
            var name = parts[0];
            // Any other text may be the end of a password in which / and ? were not written as %2F and %3F. The refusal
            // does not show it.
            if (parts.Length < 2 || !name.All(c => char.IsAsciiLetterLower(c) || c == '_'))
                throw Refusal("after the ? stands parameter=value&parameter=value.");
            if (!known.Contains(name))
                throw Refusal($"parameter '{name}' cannot be honoured. Allowed are {string.Join(", ", known)}.");
            if (!_parameters.TryAdd(name, Decode(parts[1]))) throw Refusal($"parameter '{name}' is there twice.");
        }
    }

    private (string Name, int? Port) ReadHost(string text)
    {
        var colon = text.LastIndexOf(':');
        // The colons of an IPv6 address stand in brackets and do not begin a port.
        if (colon >= 0 && text.IndexOf(']', colon) >= 0) colon = -1;
        var name = Decode(colon < 0 ? text : text[..colon]);
        if (name.Length == 0) throw Malformed();
        if (name.Contains(':', StringComparison.Ordinal) && name[0] is not ('[' or '/')) throw Malformed();
        if (colon < 0 || colon == text.Length - 1) return (name, null);
        return int.TryParse(text[(colon + 1)..], out var port) && port is > 0 and <= 65_535
            ? (name, port)
            : throw Refusal("a port must be 1 to 65535, and a / in a password be written as %2F.");
    }

    private string Decode(string text)
    {
        for (var i = text.IndexOf('%', StringComparison.Ordinal); i >= 0; i = text.IndexOf('%', i + 1))
        {
            if (i + 2 >= text.Length || !char.IsAsciiHexDigit(text[i + 1]) || !char.IsAsciiHexDigit(text[i + 2]))
                throw Refusal("a % must be followed by two hexadecimal digits; itself it is %25.");
        }
        return Uri.UnescapeDataString(text);
    }
}

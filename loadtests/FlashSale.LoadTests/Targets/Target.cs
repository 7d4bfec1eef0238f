using System.Globalization;

namespace FlashSale.LoadTests.Targets;

/// <summary>Where the product under load is, and the secrets to use it with. Addresses are roots, such as http://127.0.0.1:8080/.</summary>
public sealed record Target
{
    /// <summary>The name of the setting that holds <see cref="Api"/>.</summary>
    public const string ApiUrl = "FLASHSALE_API_URL";

    /// <summary>The shoppers' host, or the load balancer before it.</summary>
    public required Uri Api { get; init; }

    /// <summary>The managers' host.</summary>
    public required Uri Admin { get; init; }

    /// <summary>The worker.</summary>
    public required Uri Worker { get; init; }

    /// <summary>The payment sandbox; null where shoppers would pay real money.</summary>
    public Uri? Payments { get; init; }

    /// <summary>A token of role manager or operator.</summary>
    public required string AdminToken { get; init; }

    /// <summary>The HS256 secret that shoppers' tokens are signed with.</summary>
    public required string JwtKey { get; init; }

    public required string JwtIssuer { get; init; }

    public required string JwtAudience { get; init; }

    public required string JwtKid { get; init; }

    /// <summary>host:port.</summary>
    public required string Redis { get; init; }

    /// <summary>Null where Redis asks for none.</summary>
    public string? RedisPassword { get; init; }

    /// <summary>A libpq URI.</summary>
    public required string Postgres { get; init; }

    /// <summary>Process ids by name (api, worker, redis, …) of what runs on this machine; empty for another.</summary>
    public IReadOnlyDictionary<string, int> Processes { get; init; } = new Dictionary<string, int>(StringComparer.Ordinal);

    /// <summary>Reads KEY=value lines as scripts/up.sh writes them; what the environment sets wins over the file.</summary>
    /// <param name="envFile">May be missing when the environment has everything.</param>
    /// <param name="environment">Looks a name up; this process' environment unless told otherwise.</param>
    /// <exception cref="InvalidDataException">A setting is missing or is no address: its name and value are told, secrets are not.</exception>
    public static Target Load(string envFile, Func<string, string?>? environment = null)
    {
        environment ??= Environment.GetEnvironmentVariable;
        var settings = File.Exists(envFile) ? ReadLines(envFile) : [];
        string? Optional(string name) => environment(name) is { Length: > 0 } set ? set : settings.GetValueOrDefault(name);
        string Required(string name) => Optional(name) is { Length: > 0 } value ? value : throw new InvalidDataException($"{name} is set neither in the environment nor in {envFile}{(File.Exists(envFile) ? "" : ", which does not exist")}.");
        Uri Address(string name) => Uri.TryCreate(Required(name), UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
            ? uri : throw new InvalidDataException($"{name} is {Optional(name)}: it must be an http or https address.");
        var api = Address(ApiUrl);
        return new Target
        {
            Api = api,
            Admin = Address("FLASHSALE_ADMIN_URL"),
            Worker = Address("FLASHSALE_WORKER_URL"),
            Payments = Optional("FLASHSALE_PAYMENTS_URL") is null ? null : Address("FLASHSALE_PAYMENTS_URL"),
            AdminToken = Required("FLASHSALE_ADMIN_TOKEN"),
            JwtKey = Required("FLASHSALE_JWT_KEY"),
            JwtIssuer = Required("FLASHSALE_JWT_ISSUER"),
            JwtAudience = Required("FLASHSALE_JWT_AUDIENCE"),
            JwtKid = Optional("FLASHSALE_JWT_KID") ?? "local-1",
            Redis = Required("FLASHSALE_REDIS"),
            RedisPassword = Optional("FLASHSALE_REDIS_PASSWORD"),
            Postgres = Required("FLASHSALE_POSTGRES"),
            // They name processes of the machine on which the file was written: this one, as long as the Api is here.
            Processes = settings.Where(pair => api.IsLoopback && pair.Key.StartsWith("FLASHSALE_PID_", StringComparison.Ordinal))
                .ToDictionary(pair => pair.Key["FLASHSALE_PID_".Length..].ToLowerInvariant(), pair => int.Parse(pair.Value, CultureInfo.InvariantCulture), StringComparer.Ordinal),
        };
    }

    private static Dictionary<string, string> ReadLines(string file)
    {
        var settings = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in File.ReadLines(file))
        {
            var equals = line.IndexOf('=', StringComparison.Ordinal);
            if (equals > 0 && line[0] != '#') settings[line[..equals]] = Unquote(line[(equals + 1)..]);
        }
        return settings;
    }

    // As a shell would read it: up.sh puts values with special characters in single quotes.
    private static string Unquote(string value) => value is ['\'', .. var inner, '\''] ? inner.Replace(@"'\''", "'", StringComparison.Ordinal) : value;
}

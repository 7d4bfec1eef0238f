using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Polly.CircuitBreaker;

namespace FlashSale.Platform;

/// <summary>
/// Lets an operator change settings of the dependencies while the host runs. They come from the JSON file that
/// <c>Dependencies:File</c> names, <c>{"Dependencies": {"Redis": {"BreakMilliseconds": 1000}}}</c>, and override all
/// other configuration. <see cref="FollowedFile"/> follows the file. A text with an error anywhere changes nothing at
/// all.
/// </summary>
public sealed partial class DependencyFile(IConfiguration configuration, IEnumerable<Dependency> dependencies, ILogger<DependencyFile> logger) : BackgroundService
{
    private const string Setting = $"{Dependency.Section}:File";

    private readonly string? _path = configuration[Setting];
    private readonly Dependency[] _dependencies = [.. dependencies];

    /// <summary>Reads a dependency's settings, including those of the file.</summary>
    /// <exception cref="InvalidSettingException">A value is not allowed, or the file cannot be read.</exception>
    internal static DependencyOptions Read(IConfiguration configuration, DependencyDefinition definition)
    {
        if (configuration[Setting] is not { Length: > 0 } path) return DependencyOptions.Read(configuration, definition.Section, definition.Defaults);
        try
        {
            return DependencyOptions.Read(With(configuration, File.ReadAllText(path)), definition.Section, definition.Defaults);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidSettingException($"{Setting} = '{path}': must be a JSON file that can be read.");
        }
    }

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (string.IsNullOrEmpty(_path)) return;
        var file = new FollowedFile(_path);
        using var timer = new PeriodicTimer(FollowedFile.Interval);
        do
        {
            var (text, failure) = await file.LookAsync(stoppingToken);
            if (text is not null) failure = Apply(text);
            if (failure is not null) LogRefused(_path, failure);
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    // Reads the settings of all dependencies before it changes the first one. Answers the error text, or null.
    private string? Apply(string text)
    {
        try
        {
            var all = With(configuration, text);
            var read = _dependencies.Select(dependency => (dependency, Options: DependencyOptions.Read(all, dependency.Definition.Section, dependency.Definition.Defaults))).ToList();
            foreach (var (dependency, options) in read)
            {
                if (dependency.Apply(options)) LogApplied(dependency.Name, options);
            }
            return null;
        }
        catch (InvalidSettingException e)
        {
            return e.Message;
        }
    }

    private static IConfiguration With(IConfiguration configuration, string text)
    {
        try
        {
            using var json = new MemoryStream(System.Text.Encoding.UTF8.GetBytes(text));
            var file = new ConfigurationBuilder().AddJsonStream(json).Build();
            // A misspelt name would silently change nothing, so unknown names are refused. All hosts may share one
            // file, so it may name dependencies that this host does not have.
            if (file.GetChildren().FirstOrDefault(section => section.Key != Dependency.Section) is { } other)
                throw new InvalidSettingException(
                    $"{other.Path}: there is no such section; all is below '{Dependency.Section}'.");
            foreach (var dependency in file.GetSection(Dependency.Section).GetChildren())
            {
                if (!Dependency.Sections.Contains(dependency.Key, StringComparer.OrdinalIgnoreCase))
                    throw new InvalidSettingException(
                        $"{dependency.Path}: there is no such dependency. There are {string.Join(", ", Dependency.Sections)}.");
                foreach (var value in dependency.GetChildren())
                {
                    if (typeof(DependencyOptions).GetProperty(value.Key)?.CanWrite != true)
                        throw new InvalidSettingException($"{value.Path} = '{value.Value}': there is no such setting.");
                }
            }
            return new ConfigurationBuilder().AddConfiguration(configuration).AddConfiguration(file).Build();
        }
        catch (Exception e) when (e is System.Text.Json.JsonException or FormatException)
        {
            throw new InvalidSettingException($"{Setting}: the file is not a JSON object: {e.Message}");
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "The settings in {Path} are refused, those from before stay: {Reason}")]
    private partial void LogRefused(string path, string reason);

    [LoggerMessage(2, LogLevel.Information, "New settings of dependency {Name}: {Options}")]
    private partial void LogApplied(string name, DependencyOptions options);
}

/// <summary>Adds dependencies to a host.</summary>
public static class DependencyRegistration
{
    /// <summary>Adds a dependency under its name: as keyed service, on the health page and in metrics.</summary>
    /// <exception cref="InvalidSettingException">A setting of the dependency is not allowed.</exception>
    public static void AddDependency(this WebApplicationBuilder builder, DependencyDefinition definition)
    {
        var dependency = new Dependency(definition, DependencyFile.Read(builder.Configuration, definition), TimeProvider.System);
        builder.Services.AddKeyedSingleton(definition.Name, dependency);
        builder.Services.AddSingleton(dependency);
        builder.Services.AddSingleton(new HealthLine(() => $"dependency {dependency.Name}: {Text(dependency.State)}"));
        builder.Services.TryAddEnumerable(ServiceDescriptor.Singleton<IHostedService, DependencyFile>());
    }

    private static string Text(CircuitState state) => state switch
    {
        CircuitState.Closed => "is asked (breaker closed)",
        CircuitState.HalfOpen => "failed too often, one call tries whether it is back (breaker half-open)",
        CircuitState.Open => "failed too often, calls to it are refused for now (breaker open)",
        CircuitState.Isolated => "is not asked (breaker isolated)",
    };
}

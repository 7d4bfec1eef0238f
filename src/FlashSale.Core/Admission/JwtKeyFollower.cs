using System.Diagnostics.Metrics;
using FlashSale.Platform;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FlashSale.Admission;

/// <summary>
/// Follows the key files while the host runs, because identity providers change their keys. A node that knew only the
/// keys of its start would refuse everybody after a rotation, and would go on trusting a revoked key. If a file is bad,
/// its keys from before stay in force.
/// </summary>
public sealed partial class JwtKeyFollower : BackgroundService
{
    private const int MostShown = 20;

    private readonly JwtKeys _keys;
    private readonly ILogger<JwtKeyFollower> _logger;
    private readonly (int Source, FollowedFile File)[] _files;
    private readonly Meter _meter = new("FlashSale.Tokens");

    // For each file, the reason why its latest text is not in force. Null if it is in force.
    private readonly string?[] _refused;

    // For each file, the latest text if it was refused.
    private readonly string?[] _refusedText;

    /// <summary>Prepares to follow the files of all key sources in the options.</summary>
    public JwtKeyFollower(JwtOptions options, JwtKeys keys, ILogger<JwtKeyFollower> logger)
    {
        (_keys, _logger) = (keys, logger);
        _files = [.. options.Keys.Select((key, i) => (i, Path: key.PemFile ?? key.JwksFile)).Where(file => file.Path is not null)
            .Select(file => (file.i, new FollowedFile(file.Path!)))];
        (_refused, _refusedText) = (new string?[_files.Length], new string?[_files.Length]);
        _meter.CreateObservableGauge("flashsale_token_key_files_refused", () => _refused.Count(reason => reason is not null),
            description: "Key files whose present content is not in force, because it is wrong or cannot be read.");
    }

    /// <summary>A line for the health page: the keys in force, and the files that were refused.</summary>
    public string Health
    {
        get
        {
            var kids = _keys.Kids.ToArray();
            var shown = string.Join(", ", kids.Take(MostShown)) + (kids.Length > MostShown ? $" and {kids.Length - MostShown} more" : "");
            return string.Join("; ", _refused.OfType<string>().Select(reason => $"refused, its keys from before stay: {reason.ReplaceLineEndings(" ")}").Prepend($"token keys: {shown}"));
        }
    }

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_files.Length == 0) return;
        using var timer = new PeriodicTimer(FollowedFile.Interval);
        do
        {
            for (var i = 0; i < _files.Length; i++) await LookAsync(i, stoppingToken);
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    /// <inheritdoc />
    public override void Dispose()
    {
        _meter.Dispose();
        base.Dispose();
    }

    private async Task LookAsync(int index, CancellationToken cancellation)
    {
        var (text, failure) = await _files[index].File.LookAsync(cancellation);
        if (text is not null || failure is not null) Judge(index, text, failure);
    }

    private void Judge(int index, string? text, string? failure)
    {
        var (source, file) = _files[index];
        if (text is not null) failure = _keys.Replace(source, text);
        var isNews = failure is null || failure != _refused[index];
        (_refused[index], _refusedText[index]) = (failure, failure is null ? null : text);
        if (failure is null) LogFollowed(file.Path, string.Join(", ", _keys.Kids));
        else if (isNews) LogRefused(file.Path, failure);
        if (failure is not null) return;
        // A key that moves from one file to another is refused in the one until the other has given it up.
        for (var i = 0; i < _files.Length; i++)
        {
            if (_refusedText[i] is { } waiting) Judge(i, waiting, null);
        }
    }

    [LoggerMessage(1, LogLevel.Information, "The keys in {Path} are in force; token keys are now: {Kids}")]
    private partial void LogFollowed(string path, string kids);

    [LoggerMessage(2, LogLevel.Error, "The keys in {Path} are refused, those from before stay: {Reason}")]
    private partial void LogRefused(string path, string reason);
}

using System.Text.Json;
using System.Text.Json.Serialization;
using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Planning;

/// <summary>What a node does, as measured: processor time in microseconds, sizes in bytes. A JSON file (loadtests/results/figures.json) that runs refresh.</summary>
public sealed record Figures
{
    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web) { WriteIndented = true, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow };

    /// <summary>When, on what, by what.</summary>
    public required string Source { get; init; }

    /// <summary>Of the machine that the rates were measured on, everything running on it.</summary>
    public required double MeasuredCores { get; init; }

    /// <summary>Purchases accepted on that machine, the worker running.</summary>
    public required double AcceptedPerSecond { get; init; }

    /// <summary>Orders into Postgres on that machine, end to end.</summary>
    public required double PersistedPerSecond { get; init; }

    /// <summary>Of the Api, for a purchase that is accepted.</summary>
    public required double ApiMicrosecondsPerPurchase { get; init; }

    /// <summary>Of the Api, for an answer that needs no Redis.</summary>
    public required double ApiMicrosecondsPerSoldOut { get; init; }

    /// <summary>Of Redis, all of an order's life.</summary>
    public required double RedisMicrosecondsPerPurchase { get; init; }

    /// <summary>Of RabbitMQ.</summary>
    public required double RabbitMqMicrosecondsPerOrder { get; init; }

    /// <summary>Of the Worker: relay and consumer.</summary>
    public required double WorkerMicrosecondsPerOrder { get; init; }

    /// <summary>Of Postgres.</summary>
    public required double PostgresMicrosecondsPerOrder { get; init; }

    /// <summary>In Redis, settled.</summary>
    public required double RedisBytesPerOrder { get; init; }

    /// <summary>In Redis beside that, until settled: outbox entry and in-flight record.</summary>
    public required double RedisBytesPerOrderInFlight { get; init; }

    /// <summary>In Postgres, indexes, quotas and events included.</summary>
    public required double PostgresBytesPerOrder { get; init; }

    /// <summary>Of an Api process that has been at work.</summary>
    public required double ApiMegabytes { get; init; }

    /// <summary>Of an Api process, for each shopper who is connected.</summary>
    public required double ApiBytesPerConnection { get; init; }

    /// <summary>The most shoppers that were connected to one Api process.</summary>
    public required double MeasuredConnections { get; init; }

    /// <summary>Reads the file.</summary>
    /// <exception cref="UsageException">It is not there, lacks a figure, has one that is unknown, or one that is not above 0.</exception>
    public static Figures Load(string path)
    {
        try
        {
            var figures = JsonSerializer.Deserialize<Figures>(File.ReadAllText(path), Options) ?? throw new JsonException("It holds null.");
            return figures.Checked(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new UsageException($"{path}: the measured figures cannot be read: {e.Message}");
        }
    }

    /// <summary>Writes the file, in one step.</summary>
    public void Save(string path)
    {
        File.WriteAllText(path + ".new", JsonSerializer.Serialize(this, Options) + "\n");
        File.Move(path + ".new", path, overwrite: true);
    }

    /// <summary>With some figures as a run has measured them: NAME=VALUE, names as in the file.</summary>
    /// <exception cref="UsageException">A name is unknown, or a value no number above 0.</exception>
    public Figures With(IEnumerable<string> assignments)
    {
        var members = JsonSerializer.SerializeToNode(this, Options)!.AsObject();
        foreach (var assignment in assignments)
        {
            if (assignment.Split('=', 2) is not [var name, var value] || !members.ContainsKey(name)) throw new UsageException($"{assignment}: must be NAME=VALUE, with a name of {string.Join(", ", members.Select(member => member.Key))}");
            members[name] = name == "source" ? value : double.TryParse(value, out var number) ? number : throw new UsageException($"{assignment}: must be a number");
        }
        return JsonSerializer.Deserialize<Figures>(members, Options)!.Checked("the figures");
    }

    private Figures Checked(string path)
    {
        foreach (var figure in typeof(Figures).GetProperties().Where(figure => figure.PropertyType == typeof(double)))
        {
            var value = (double)figure.GetValue(this)!;
            if (!(value > 0 && double.IsFinite(value))) throw new UsageException($"{path}: {JsonNamingPolicy.CamelCase.ConvertName(figure.Name)} {value}: must be above 0");
        }
        return this;
    }
}

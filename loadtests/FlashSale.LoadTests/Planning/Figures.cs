using System.Text.Json;
using System.Text.Json.Serialization;
using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Planning;

/// <summary>
/// Measured figures of a node: processor time in microseconds, sizes in bytes. They come from a JSON file
/// (loadtests/results/figures.json) that runs refresh.
/// </summary>
public sealed record Figures
{
    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web) { WriteIndented = true, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow };

    /// <summary>Time, machine and program of the measurement.</summary>
    public required string Source { get; init; }

    /// <summary>Cores of the machine that the rates were measured on. Everything ran on it.</summary>
    public required double MeasuredCores { get; init; }

    /// <summary>Purchases accepted a second on that machine while the worker was running.</summary>
    public required double AcceptedPerSecond { get; init; }

    /// <summary>Orders stored in Postgres a second on that machine, end to end.</summary>
    public required double PersistedPerSecond { get; init; }

    /// <summary>Processor time of the Api for a purchase that is accepted.</summary>
    public required double ApiMicrosecondsPerPurchase { get; init; }

    /// <summary>Processor time of the Api for an answer that needs no Redis.</summary>
    public required double ApiMicrosecondsPerSoldOut { get; init; }

    /// <summary>Processor time of Redis for all of an order's life.</summary>
    public required double RedisMicrosecondsPerPurchase { get; init; }

    /// <summary>Processor time of RabbitMQ for an order.</summary>
    public required double RabbitMqMicrosecondsPerOrder { get; init; }

    /// <summary>Processor time of the Worker for an order: relay and consumer.</summary>
    public required double WorkerMicrosecondsPerOrder { get; init; }

    /// <summary>Processor time of Postgres for an order.</summary>
    public required double PostgresMicrosecondsPerOrder { get; init; }

    /// <summary>Memory of a settled order in Redis.</summary>
    public required double RedisBytesPerOrder { get; init; }

    /// <summary>Additional memory in Redis until the order is settled: outbox entry and in-flight record.</summary>
    public required double RedisBytesPerOrderInFlight { get; init; }

    /// <summary>Disk space of an order in Postgres, with its indexes, quotas and events.</summary>
    public required double PostgresBytesPerOrder { get; init; }

    /// <summary>Memory, in megabytes, of an Api process that has been at work.</summary>
    public required double ApiMegabytes { get; init; }

    /// <summary>Memory of an Api process for each connected shopper.</summary>
    public required double ApiBytesPerConnection { get; init; }

    /// <summary>The most shoppers that were connected to one Api process in a measurement.</summary>
    public required double MeasuredConnections { get; init; }

    /// <summary>Reads the file.</summary>
    /// <exception cref="UsageException">The file is missing, lacks a figure, has an unknown one, or has one that is not
    /// above 0.</exception>
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

    /// <summary>Writes the file in one step, so that a reader never sees half of it.</summary>
    public void Save(string path)
    {
        File.WriteAllText(path + ".new", JsonSerializer.Serialize(this, Options) + "\n");
        File.Move(path + ".new", path, overwrite: true);
    }

    /// <summary>
    /// Returns a copy with figures that a run has measured, as NAME=VALUE with the names of the file.
    /// </summary>
    /// <exception cref="UsageException">A name is unknown, or a value is no number above 0.</exception>
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

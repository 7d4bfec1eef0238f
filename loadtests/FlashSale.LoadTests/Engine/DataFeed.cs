using System.Text.Json;

namespace FlashSale.LoadTests.Engine;

/// <summary>Test data, handed out item by item.</summary>
public interface IDataFeed<T>
{
    /// <summary>The next item for a copy of a scenario. Any number of copies may ask at once.</summary>
    T GetNextItem(ScenarioInfo scenarioInfo);
}

/// <summary>Ways of handing out test data.</summary>
public static class DataFeed
{
    /// <summary>Each copy always gets the same item: the one of its number, beginning again after the last.</summary>
    public static IDataFeed<T> Constant<T>(IEnumerable<T> data) => new ConstantFeed<T>(All(data));

    /// <summary>One after another for all copies together, beginning again after the last.</summary>
    public static IDataFeed<T> Circular<T>(IEnumerable<T> data) => new CircularFeed<T>(All(data));

    /// <summary>Any, each as likely as any other.</summary>
    public static IDataFeed<T> Random<T>(IEnumerable<T> data) => new RandomFeed<T>(All(data));

    private static T[] All<T>(IEnumerable<T> data)
    {
        var items = data.ToArray();
        return items.Length > 0 ? items : throw new ArgumentException("A data feed needs at least one item.", nameof(data));
    }

    private sealed class ConstantFeed<T>(T[] items) : IDataFeed<T>
    {
        public T GetNextItem(ScenarioInfo scenarioInfo) => items[scenarioInfo.InstanceNumber % items.Length];
    }

    private sealed class CircularFeed<T>(T[] items) : IDataFeed<T>
    {
        private long _next = -1;

        public T GetNextItem(ScenarioInfo scenarioInfo) => items[Interlocked.Increment(ref _next) % items.Length];
    }

    private sealed class RandomFeed<T>(T[] items) : IDataFeed<T>
    {
        public T GetNextItem(ScenarioInfo scenarioInfo) => items[System.Random.Shared.Next(items.Length)];
    }
}

/// <summary>Reads test data.</summary>
public static class Data
{
    /// <summary>A JSON file; member names in any case.</summary>
    /// <exception cref="JsonException">It holds something else.</exception>
    public static T LoadJson<T>(string path) =>
        JsonSerializer.Deserialize<T>(File.ReadAllText(path), JsonSerializerOptions.Web) ?? throw new JsonException($"{path} holds null.");
}

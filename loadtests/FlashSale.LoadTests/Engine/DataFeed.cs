using System.Text.Json;

namespace FlashSale.LoadTests.Engine;

/// <summary>Hands out test data, item by item.</summary>
public interface IDataFeed<T>
{
    /// <summary>Returns the next item for a copy of a scenario. Any number of copies may ask at once.</summary>
    T GetNextItem(ScenarioInfo scenarioInfo);
}

/// <summary>
/// Creates data feeds. Each needs at least one item and otherwise throws <see cref="ArgumentException"/>.
/// </summary>
public static class DataFeed
{
    /// <summary>
    /// Gives each copy always the same item, chosen by the copy's number. After the last item the numbers begin again
    /// at the first.
    /// </summary>
    public static IDataFeed<T> Constant<T>(IEnumerable<T> data) => new ConstantFeed<T>(All(data));

    /// <summary>
    /// Hands out the items in order, to all copies together. After the last item it begins again at the first.
    /// </summary>
    public static IDataFeed<T> Circular<T>(IEnumerable<T> data) => new CircularFeed<T>(All(data));

    /// <summary>Hands out a random item. All items are equally likely.</summary>
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

/// <summary>Reads test data from files.</summary>
public static class Data
{
    /// <summary>Reads a JSON file. Member names match in any case.</summary>
    /// <exception cref="JsonException">The file holds null, or JSON that does not fit
    /// <typeparamref name="T"/>.</exception>
    public static T LoadJson<T>(string path) =>
        JsonSerializer.Deserialize<T>(File.ReadAllText(path), JsonSerializerOptions.Web) ?? throw new JsonException($"{path} holds null.");
}

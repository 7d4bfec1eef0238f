using System.Collections;
using System.ComponentModel.DataAnnotations;
using System.Reflection;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace FlashSale.Platform;

/// <summary>A configured value that the host cannot start with.</summary>
public sealed class InvalidSettingException(string message) : Exception(message);

/// <summary>
/// Binds options at start. Refuses bad ones with the setting's name, its value and the values that are allowed.
/// </summary>
public static class Settings
{
    /// <summary>
    /// Reads <typeparamref name="T"/> from <paramref name="section"/>, checks its annotations and registers it as a
    /// singleton.
    /// </summary>
    /// <exception cref="InvalidSettingException">A value cannot be read or lies outside its range.</exception>
    public static T AddSettings<T>(this IServiceCollection services, IConfiguration configuration, string section) where T : class, new()
    {
        var settings = Read<T>(configuration, section);
        services.AddSingleton(settings);
        return settings;
    }

    /// <summary>Reads and checks <typeparamref name="T"/>.</summary>
    /// <exception cref="InvalidSettingException">A value cannot be read or lies outside its range.</exception>
    public static T Read<T>(IConfiguration configuration, string section) where T : class, new() => Read(section, configuration, new T());

    /// <summary>
    /// Reads <paramref name="section"/> into <paramref name="settings"/>, which hold the defaults, and checks them.
    /// </summary>
    /// <exception cref="InvalidSettingException">A value cannot be read or lies outside its range.</exception>
    public static T Read<T>(string section, IConfiguration configuration, T settings) where T : class
    {
        try
        {
            configuration.GetSection(section).Bind(settings);
        }
        catch (InvalidOperationException e)
        {
            // The binder's text names the key and the value: "Failed to convert configuration value 'x' at 'Redis:Y' to
            // type ...".
            throw new InvalidSettingException(e.Message);
        }
        RefuseUnknown(configuration.GetSection(section), settings.GetType());
        Check(settings, section);
        return settings;
    }

    // A misspelt name would silently change nothing, so unknown names are refused. The value may be a secret.
    private static void RefuseUnknown(IConfigurationSection section, Type type)
    {
        var properties = type.GetProperties(BindingFlags.Public | BindingFlags.Instance);
        foreach (var child in section.GetChildren())
        {
            var property = Array.Find(properties, property =>
                string.Equals(property.Name, child.Key, StringComparison.OrdinalIgnoreCase)
                && (property.CanWrite || ElementOf(property.PropertyType) is not null));
            if (property is null) throw new InvalidSettingException($"{child.Path} = (hidden): there is no such setting.");
            if (ElementOf(property.PropertyType) is not { } element) continue;
            if (element.Namespace?.StartsWith("FlashSale", StringComparison.Ordinal) != true) continue;
            foreach (var member in child.GetChildren()) RefuseUnknown(member, element);
        }
    }

    private static Type? ElementOf(Type list) =>
        list == typeof(string) || !typeof(IEnumerable).IsAssignableFrom(list) ? null
        : list.GetElementType() ?? list.GetGenericArguments().FirstOrDefault();

    private static void Check(object settings, string path)
    {
        foreach (var property in settings.GetType().GetProperties(BindingFlags.Public | BindingFlags.Instance))
        {
            if (property.GetIndexParameters().Length > 0 || !property.CanWrite) continue;
            var value = property.GetValue(settings);
            var name = $"{path}:{property.Name}";
            foreach (var rule in property.GetCustomAttributes<ValidationAttribute>())
            {
                if (rule.GetValidationResult(value, new ValidationContext(settings) { MemberName = property.Name }) is { } failure)
                    throw new InvalidSettingException($"{name} = {Show(property, value)}: {Allowed(rule, failure)}");
            }
            if (value is IEnumerable elements and not string)
            {
                var index = 0;
                foreach (var element in elements)
                {
                    if (element?.GetType().Namespace?.StartsWith("FlashSale", StringComparison.Ordinal) == true) Check(element, $"{name}:{index}");
                    index++;
                }
            }
        }
    }

    private static string Show(PropertyInfo property, object? value) =>
        value is null or "" ? "(not set)"
        : property.IsDefined(typeof(SecretAttribute)) ? "(hidden)"
        : $"'{value}'";

    private static string Allowed(ValidationAttribute rule, ValidationResult failure) => rule switch
    {
        RangeAttribute range => $"allowed is {range.Minimum} to {range.Maximum}.",
        RequiredAttribute => "a value is required.",
        RegularExpressionAttribute pattern => pattern.ErrorMessage ?? $"allowed is {pattern.Pattern}.",
        _ => failure.ErrorMessage ?? "not allowed.",
    };
}

/// <summary>Marks a setting with a value that must never be shown.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class SecretAttribute : Attribute;

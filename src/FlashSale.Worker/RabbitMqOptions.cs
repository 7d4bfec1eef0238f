using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;
using MassTransit;

namespace FlashSale.Worker;

/// <summary>Where the broker is. Section <c>RabbitMq</c>.</summary>
public sealed class RabbitMqOptions
{
    /// <summary>AMQP URI: <c>amqp://user:password@host:port/vhost</c>.</summary>
    [Required, Secret]
    public string Url { get; set; } = "";

    /// <summary>Points a bus at the broker.</summary>
    /// <exception cref="InvalidSettingException">The URL is not an AMQP URI.</exception>
    public void Configure(IRabbitMqBusFactoryConfigurator bus, string connectionName)
    {
        var uri = Parse();
        var user = uri.UserInfo.Split(':', 2);
        var virtualHost = uri.AbsolutePath.Length > 1 ? Uri.UnescapeDataString(uri.AbsolutePath[1..]) : "/";
        bus.Host(uri.Host, (ushort)(uri.Port > 0 ? uri.Port : 5672), virtualHost, connectionName, host =>
        {
            host.Username(Uri.UnescapeDataString(user[0]));
            host.Password(user.Length > 1 ? Uri.UnescapeDataString(user[1]) : "");
            host.PublisherConfirmation = true;
            host.Heartbeat(TimeSpan.FromSeconds(10));
        });
    }

    /// <summary>Checks the URL.</summary>
    /// <exception cref="InvalidSettingException">It is not an AMQP URI.</exception>
    public Uri Parse() =>
        Uri.TryCreate(Url, UriKind.Absolute, out var uri) && uri.Scheme is "amqp"
            ? uri
            : throw new InvalidSettingException("RabbitMq:Url = (hidden): must be amqp://user:password@host:port/vhost.");
}
